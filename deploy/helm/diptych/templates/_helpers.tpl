{{/* The release's name, of which every object's name begins: 48 characters at most, since a Service's has 63. */}}
{{- define "diptych.fullname" -}}
{{- $own := default .Chart.Name .Values.nameOverride -}}
{{- $name := default (ternary .Release.Name (printf "%s-%s" .Release.Name $own) (contains $own .Release.Name)) .Values.fullnameOverride -}}
{{- $name | replace "." "-" | trunc 48 | trimAll "-" -}}
{{- end -}}

{{/* Labels that choose the pods of a tier. Takes {root, tier}. */}}
{{- define "diptych.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .tier }}
{{- end -}}

{{/* Labels of an object. Takes {root, tier} and those that only this object has, `further`. */}}
{{- define "diptych.labels" -}}
{{ include "diptych.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with merge (dict) (default dict .further) .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The image of a tier; a name with a tag or a digest of its own keeps it. Takes {root, tier}. */}}
{{- define "diptych.image" -}}
{{- $image := .root.Values.image -}}
{{- $name := $image.gateway -}}
{{- if ne .tier "gateway" -}}{{- $name = index $image (index .root.Values .tier).device -}}{{- end -}}
{{- if not (regexMatch "[:@]" (base $name)) -}}{{- $name = printf "%s:%s" $name (default .root.Chart.AppVersion $image.tag) -}}{{- end -}}
{{- printf "%s%s" (ternary (printf "%s/" $image.registry) "" (ne $image.registry "")) $name -}}
{{- end -}}

{{/* The program of a tier, as the images have it on their PATH. */}}
{{- define "diptych.program" -}}
{{- ternary "gateway" (printf "%s_service" .) (eq . "gateway") -}}
{{- end -}}

{{/* The name that gRPC resolves to the addresses of a tier's ready pods. Takes {root, tier}. */}}
{{- define "diptych.target" -}}
{{- printf "dns:///%s-%s-pods.%s.svc:%v" (include "diptych.fullname" .root) .tier .root.Release.Namespace (index .root.Values .tier).ports.grpc -}}
{{- end -}}

{{/* Host names under which callers reach the gateway by HTTP. IP addresses are always taken. */}}
{{- define "diptych.hosts" -}}
{{- $hosts := list -}}
{{- range list (include "diptych.fullname" .) (printf "%s-gateway-pods" (include "diptych.fullname" .)) -}}
{{- $hosts = concat $hosts (list . (printf "%s.%s" . $.Release.Namespace) (printf "%s.%s.svc" . $.Release.Namespace) (printf "%s.%s.svc.cluster.local" . $.Release.Namespace)) -}}
{{- end -}}
{{- concat $hosts .Values.routes.hostnames .Values.gateway.httpHosts | uniq | join "," -}}
{{- end -}}

{{- define "diptych.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}{{- default (include "diptych.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}{{- default "default" .Values.serviceAccount.name -}}{{- end -}}
{{- end -}}

{{/* The checkpoint's folder, or its name on the hub, as --model takes it. */}}
{{- define "diptych.model" -}}
{{- if eq .Values.model.source "image" -}}{{- .Values.model.image.folder -}}
{{- else if eq .Values.model.source "pull" -}}{{- required "model.pull.id: give the model's name on the hub, ORG/NAME" .Values.model.pull.id -}}
{{- else -}}{{- printf "/models/%s" .Values.model.name -}}{{- end -}}
{{- end -}}

{{- define "diptych.tlsSecret" -}}
{{- $tls := .root.Values.tls -}}
{{- if eq .tier "gateway" -}}{{- default (printf "%s-gateway-tls" (include "diptych.fullname" .root)) $tls.gatewaySecret -}}
{{- else -}}{{- default (printf "%s-tier-tls" (include "diptych.fullname" .root)) $tls.tierSecret -}}{{- end -}}
{{- end -}}

{{/* A number or text as a flag takes it; large integers must not become floating point. */}}
{{- define "diptych.flagValue" -}}
{{- if kindIs "float64" . -}}{{- if eq (floor .) . -}}{{- int64 . -}}{{- else -}}{{- . -}}{{- end -}}
{{- else -}}{{- . -}}{{- end -}}
{{- end -}}

{{/* Bytes of a size such as 1073741824, 512MiB or 2GB, or of one of Kubernetes such as 512Mi or 1.5Gi. */}}
{{- define "diptych.bytes" -}}
{{- $size := include "diptych.flagValue" . -}}
{{- $units := dict "B" 1 "kB" 1000 "KB" 1000 "MB" 1000000 "GB" 1000000000 "TB" 1000000000000 "KiB" 1024 "MiB" 1048576 "GiB" 1073741824 "TiB" 1099511627776
     "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- mulf (regexFind "^[0-9.]+" $size | float64) (get $units (default "B" (regexFind "[A-Za-z]+$" $size)) | int64) | ceil | int64 -}}
{{- end -}}

{{/* Seconds of a duration such as 90s, 2m or 1m30s. */}}
{{- define "diptych.seconds" -}}
{{- $seconds := 0 -}}
{{- range regexFindAll "[0-9]+[hms]" . -1 -}}
{{- $number := trimSuffix "h" . | trimSuffix "m" | trimSuffix "s" | int -}}
{{- $seconds = add $seconds (mul $number (ternary 3600 (ternary 60 1 (hasSuffix "m" .)) (hasSuffix "h" .))) -}}
{{- end -}}
{{- $seconds -}}
{{- end -}}

{{/* Whether an engine, and not `replicas`, sets the number of a tier's pods. */}}
{{- define "diptych.scaled" -}}
{{- if (index .root.Values .tier).autoscaling.enabled -}}true{{- end -}}
{{- end -}}

{{/* A quantity such as 800m as the number that KEDA takes. */}}
{{- define "diptych.plainNumber" -}}
{{- $text := toString . -}}
{{- if hasSuffix "m" $text -}}{{- divf (trimSuffix "m" $text) 1000 -}}{{- else -}}{{- $text -}}{{- end -}}
{{- end -}}

{{/* What chooses a tier's series in Prometheus: of this release alone. Takes {root, tier}. */}}
{{- define "diptych.series" -}}
{{- printf "namespace=%q,job=%q,pod=~%q" .root.Release.Namespace (printf "diptych-%s" .tier) (printf "%s-%s-[a-z0-9]+(-[a-z0-9]+)?" (include "diptych.fullname" .root) .tier) -}}
{{- end -}}

{{/* The alerts of this release alone: its series, and its name on what they raise. */}}
{{- define "diptych.alerts" -}}
{{- $pods := printf "%s-(gateway|vision|language)-[a-z0-9]+(-[a-z0-9]+)?" (include "diptych.fullname" .) -}}
{{- regexReplaceAll "(?m)^#.*\n" (.Files.Get "files/alerts.yml") ""
    | replace "{job=" (printf "{namespace=%q, pod=~%q, job=" .Release.Namespace $pods)
    | replace "labels: {" (printf "labels: {namespace: %q, release: %q, " .Release.Namespace .Release.Name) -}}
{{- end -}}

{{/* 1 if images have found no vision replica in the last minute, whether they failed or wait for one, else 0. */}}
{{- define "diptych.visionDemand" -}}
sum(rate({__name__=~"diptych_errors_total|diptych_retries_total",{{ include "diptych.series" (dict "root" . "tier" "language") }},reason=~"|TIER_UNAVAILABLE"}[1m])) > bool 0 or vector(0)
{{- end -}}
