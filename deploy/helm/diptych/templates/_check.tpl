{{/* Refuses, by their names, values that fit the schema each but not one another. */}}
{{- define "diptych.check" -}}
{{- if not (regexMatch "^[a-z]" (include "diptych.fullname" .)) -}}
{{- fail (printf "fullnameOverride: give one that begins with a letter, as Services' names must; that of the release would be %s" (include "diptych.fullname" .)) -}}
{{- end -}}
{{- range $name, $time := dict "drain.delay" .Values.drain.delay "drain.timeout" .Values.drain.timeout "maxConnectionAge" .Values.maxConnectionAge -}}
{{- include "diptych.checkTime" (dict "name" $name "time" $time "least" (ternary 1 0 (eq $name "maxConnectionAge"))) -}}
{{- end -}}
{{- if le (include "diptych.seconds" .Values.drain.delay | int) (include "diptych.seconds" .Values.maxConnectionAge | int) -}}
{{- fail (printf "drain.delay: %s must be longer than maxConnectionAge, %s, or callers lose a replica before they know of another" .Values.drain.delay .Values.maxConnectionAge) -}}
{{- end -}}
{{- range $tier := list "gateway" "vision" "language" -}}
{{- include "diptych.checkTier" (dict "root" $ "tier" $tier "values" (index $.Values $tier)) -}}
{{- end -}}
{{- include "diptych.checkTls" .Values.tls -}}
{{- if and .Values.podSecurityContext.runAsNonRoot (eq (toString .Values.podSecurityContext.runAsUser) "0") -}}
{{- fail "podSecurityContext.runAsUser: is 0, which runAsNonRoot refuses" -}}
{{- end -}}
{{- if .Values.routes.enabled -}}{{- include "diptych.checkRoutes" .Values.routes -}}{{- end -}}
{{- if and (eq .Values.model.source "oci") (semverCompare "<1.33-0" .Capabilities.KubeVersion.Version) -}}
{{- fail (printf "model.source: oci needs Kubernetes 1.33, and this is %s; take claim or pull" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- end -}}

{{- define "diptych.checkTier" -}}
{{- $ports := values .values.ports -}}
{{- if ne (len $ports) (len (uniq $ports)) -}}
{{- fail (printf "%s.ports: two of them are the same: %s" .tier (toJson .values.ports)) -}}
{{- end -}}
{{- $strategy := .values.strategy -}}
{{- if and (regexMatch "^0+%?$" (toString $strategy.maxSurge)) (regexMatch "^0+%?$" (toString $strategy.maxUnavailable)) -}}
{{- fail (printf "%s.strategy: maxSurge and maxUnavailable are both 0, so no pod could ever be replaced" .tier) -}}
{{- end -}}
{{- include "diptych.checkFlags" . -}}
{{- include "diptych.checkMemory" . -}}
{{- if .values.autoscaling.enabled -}}
{{- include "diptych.checkScaling" (dict "engine" .root.Values.autoscaling "tier" .tier "scaling" .values.autoscaling) -}}
{{- end -}}
{{- end -}}

{{/* What the process itself would refuse, before any pod is replaced; and flags in extraArgs on which other objects of the chart depend. */}}
{{- define "diptych.checkFlags" -}}
{{- $name := printf "%s.flags" .tier -}}
{{- $flags := .values.flags -}}
{{- with $flags.request_timeout -}}
{{- include "diptych.checkTime" (dict "name" (printf "%s.request_timeout" $name) "time" . "least" 1) -}}
{{- end -}}
{{- if hasKey $flags "max_image_bytes" -}}
{{- $bytes := include "diptych.bytes" $flags.max_image_bytes | int64 -}}
{{- if or (lt $bytes 1024) (gt $bytes 268435456) -}}
{{- fail (printf "%s.max_image_bytes: %v is not from 1KiB to 256MiB" $name $flags.max_image_bytes) -}}
{{- end -}}
{{- end -}}
{{- if eq .tier "language" -}}
{{- $cuda := eq .values.device "cuda" -}}
{{- $batch := dig "max_batch" (ternary 128 32 $cuda) $flags | int -}}
{{- $room := dig "max_batched_tokens" (ternary 2048 256 $cuda) $flags | int -}}
{{- if gt $batch $room -}}{{- fail (printf "%s.max_batched_tokens: %d is less than max_batch, %d" $name $room $batch) -}}{{- end -}}
{{- end -}}
{{- if and (dig "cuda_graphs" false $flags) (ne (default "cpu" .values.device) "cuda") -}}{{- fail (printf "%s.cuda_graphs: takes device cuda" $name) -}}{{- end -}}
{{- range $index, $argument := .values.extraArgs -}}
{{- $own := get (dict "listen" "ports.grpc" "http_listen" "ports.http" "metrics_listen" "ports.metrics" "drain_delay" "drain.delay" "drain_timeout" "drain.timeout")
    (regexFind "[a-z_]+" $argument) -}}
{{- if $own -}}
{{- fail (printf "%s.extraArgs[%d]: %s; set %s instead, which probes, Services and grace periods follow" $.tier $index $argument (ternary $own (printf "%s.%s" $.tier $own) (hasPrefix "drain" $own))) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Takes a duration, `time`, its `name`, and the `least` seconds. */}}
{{- define "diptych.checkTime" -}}
{{- $seconds := include "diptych.seconds" .time | int64 -}}
{{- if or (lt $seconds (int64 .least)) (gt $seconds 31536000) -}}
{{- fail (printf "%s: %s is not from %ds to a year (8760h)" .name .time (int .least)) -}}
{{- end -}}
{{- end -}}

{{- define "diptych.checkMemory" -}}
{{- $requested := dig "requests" "memory" "0" .values.resources -}}
{{- $limit := dig "limits" "memory" "" .values.resources -}}
{{- if and $limit (gt (include "diptych.bytes" $requested | int64) (include "diptych.bytes" $limit | int64)) -}}
{{- fail (printf "%s.resources: requests.memory, %v, is more than limits.memory, %v" .tier $requested $limit) -}}
{{- end -}}
{{- end -}}

{{- define "diptych.checkScaling" -}}
{{- $name := printf "%s.autoscaling" .tier -}}
{{- if gt (int .scaling.minReplicas) (int .scaling.maxReplicas) -}}
{{- fail (printf "%s: minReplicas %v is more than maxReplicas %v" $name .scaling.minReplicas .scaling.maxReplicas) -}}
{{- end -}}
{{- if and (eq (int .scaling.minReplicas) 0) (eq .engine.engine "hpa") (not .engine.hpaScaleToZero) -}}
{{- fail (printf "%s.minReplicas: 0 needs autoscaling.engine=keda, or autoscaling.hpaScaleToZero" $name) -}}
{{- end -}}
{{- range $ratio := list "busyRatio" "kvUsageRatio" -}}
{{- with get $.scaling.targets $ratio -}}
{{- if gt (include "diptych.plainNumber" . | float64) 1.0 -}}{{- fail (printf "%s.targets.%s: %v is more than 1, and a share never is" $name $ratio .) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if not (compact (values .scaling.targets)) -}}
{{- fail (printf "%s.targets: give at least one, or the tier would never grow" $name) -}}
{{- end -}}
{{- end -}}

{{- define "diptych.checkTls" -}}
{{- if and (not .enabled) (or .clientCa .certManager.enabled) -}}
{{- fail (printf "tls.enabled: is false, so that tls.%s would do nothing" (ternary "clientCa" "certManager.enabled" .clientCa)) -}}
{{- end -}}
{{- if and .gatewaySecret (eq .gatewaySecret .tierSecret) .certManager.enabled -}}
{{- fail (printf "tls.tierSecret: is %s, as tls.gatewaySecret; cert-manager makes a certificate for each" .tierSecret) -}}
{{- end -}}
{{- end -}}

{{/* A listener takes one kind of route for a host name: with both, one of the two would be without effect. */}}
{{- define "diptych.checkRoutes" -}}
{{- if not .parentRefs -}}{{- fail "routes.parentRefs: name the Gateway that the routes attach to" -}}{{- end -}}
{{- if and .grpc .http (or (not .grpcParentRefs) (eq (toJson .grpcParentRefs) (toJson .parentRefs))) -}}
{{- range $grpc := default (list "*") .grpcHostnames -}}
{{- range $http := default (list "*") $.hostnames -}}
{{- if or (eq $grpc $http) (eq $grpc "*") (eq $http "*") (and (hasPrefix "*" $grpc) (hasSuffix (trimPrefix "*" $grpc) $http)) (and (hasPrefix "*" $http) (hasSuffix (trimPrefix "*" $http) $grpc)) -}}
{{- fail (printf "routes.grpcHostnames: a listener takes either gRPC or HTTP routes for a host name, and %s meets %s of routes.hostnames; give each kind names of its own (grpc.example.com), or gRPC a listener of its own by routes.grpcParentRefs, or set routes.grpc or routes.http to false" $grpc $http) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
