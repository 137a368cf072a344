{{/* Environment of a process. Takes {root, tier}. */}}
{{- define "diptych.environment" -}}
{{- $tier := index .root.Values .tier -}}
{{- if ne .tier "gateway" }}
- name: DIPTYCH_THREADS # as many as the cores that it requests
  valueFrom: {resourceFieldRef: {containerName: {{ .tier }}, resource: requests.cpu, divisor: "1"}}
{{- if eq .root.Values.model.source "pull" }}
- {name: HF_HOME, value: /models/hub}
{{- end }}
{{- end }}
{{- with $tier.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* One probe by gRPC's health protocol, which Kubernetes cannot speak over TLS: then by HTTP on the metrics port, which says
     the same. Takes {root, tier, service}. */}}
{{- define "diptych.probe" -}}
{{- $ports := (index .root.Values .tier).ports -}}
{{- if not .root.Values.tls.enabled -}}
grpc: {port: {{ $ports.grpc }}, service: {{ .service }}}
{{- else -}}
httpGet: {port: metrics, path: /healthz/{{ ternary "ready" "live" (eq .service "readiness") }}}
{{- end -}}
{{- end -}}

{{/* Resources, with the GPU that a cuda tier needs. Takes {root, tier}. */}}
{{- define "diptych.resources" -}}
{{- $tier := index .root.Values .tier -}}
{{- $resources := deepCopy $tier.resources -}}
{{- if eq (default "cpu" $tier.device) "cuda" -}}
{{- $limits := default dict $resources.limits -}}
{{- if not (hasKey $limits "nvidia.com/gpu") -}}{{- $_ := set $resources "limits" (merge (dict "nvidia.com/gpu" 1) $limits) -}}{{- end -}}
{{- end -}}
{{- if eq .tier "gateway" -}}
{{- $limits := default dict $resources.limits -}}
{{- if not (hasKey $limits "memory") -}}{{- $_ := set $resources "limits" (merge (dict "memory" (include "diptych.gatewayMemory" .root)) $limits) -}}{{- end -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{/* What a gateway's bounds add up to: questions in flight, HTTP bodies, what gRPC holds, each as much as max_inflight_bytes, gRPC at least 1 GiB; and itself.
     Never less than what it requests. */}}
{{- define "diptych.gatewayMemory" -}}
{{- $bytes := include "diptych.bytes" (dig "max_inflight_bytes" "1GiB" .Values.gateway.flags) | int64 -}}
{{- $needed := add $bytes $bytes (max $bytes 1073741824) 268435456 -}}
{{- $requested := include "diptych.bytes" (dig "requests" "memory" "0" .Values.gateway.resources) | int64 -}}
{{- printf "%dMi" (div (add (max $needed $requested) 1048575) 1048576) -}}
{{- end -}}

{{/* Different zones if there are some: a second spread constraint would make the scheduler ignore both where nodes have no zone. Takes {root, tier}. */}}
{{- define "diptych.affinity" -}}
{{- with (index .root.Values .tier).affinity -}}
{{- toYaml . -}}
{{- else -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: topology.kubernetes.io/zone
        labelSelector:
          matchLabels: {{- include "diptych.selector" . | nindent 12 }}
{{- end -}}
{{- end -}}

{{- define "diptych.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* What a process sees besides its image. Takes {root, tier}. */}}
{{- define "diptych.mounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if .root.Values.tls.enabled }}
- {name: tls, mountPath: /etc/diptych/tls, readOnly: true}
{{- end }}
{{- if eq .tier "gateway" }}
{{- if .root.Values.tls.enabled }}
- {name: tier-ca, mountPath: /etc/diptych/tier-ca, readOnly: true}
{{- end }}
{{- if .root.Values.apiKeys.secretName }}
- {name: keys, mountPath: /etc/diptych/keys, readOnly: true}
{{- end }}
{{- else if eq .root.Values.model.source "pull" }}
- {name: model, mountPath: /models/hub, readOnly: true}
{{- else if ne .root.Values.model.source "image" }}
- name: model
  mountPath: /models/{{ .root.Values.model.name }}
  readOnly: true
  {{- if and (eq .root.Values.model.source "claim") .root.Values.model.claim.subPath }}
  subPath: {{ .root.Values.model.claim.subPath | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "diptych.volumes" -}}
- {name: tmp, emptyDir: {sizeLimit: 256Mi}}
{{- if .root.Values.tls.enabled }}
- {name: tls, secret: {secretName: {{ include "diptych.tlsSecret" . | quote }}, defaultMode: 0440}}
{{- end }}
{{- if eq .tier "gateway" }}
{{- if .root.Values.tls.enabled }}
- {name: tier-ca, secret: {secretName: {{ include "diptych.tlsSecret" (dict "root" .root "tier" "vision") | quote }}, defaultMode: 0440, items: [{key: ca.crt, path: ca.crt}]}}
{{- end }}
{{- if .root.Values.apiKeys.secretName }}
- {name: keys, secret: {secretName: {{ .root.Values.apiKeys.secretName | quote }}, defaultMode: 0440}}
{{- end }}
{{- else }}
{{- include "diptych.modelVolume" .root.Values.model }}
{{- end }}
{{- end -}}

{{- define "diptych.modelVolume" -}}
{{- if eq .source "claim" }}
- {name: model, persistentVolumeClaim: {claimName: {{ required "model.claim.name: give the PersistentVolumeClaim that holds the checkpoint" .claim.name | quote }}, readOnly: true}}
{{- else if eq .source "oci" }}
- {name: model, image: {reference: {{ required "model.oci.reference: give the image that holds the checkpoint" .oci.reference | quote }}, pullPolicy: {{ .oci.pullPolicy }}}}
{{- else if eq .source "pull" }}
{{- if .pull.claim }}
- {name: model, persistentVolumeClaim: {claimName: {{ .pull.claim | quote }}}}
{{- else }}
- {name: model, emptyDir: {sizeLimit: {{ .pull.size }}}}
{{- end }}
{{- end }}
{{- end -}}

{{/* The init container that fetches the checkpoint, if it comes from the hub. Takes {root, tier}. */}}
{{- define "diptych.initContainers" -}}
{{- if and (eq .root.Values.model.source "pull") (ne .tier "gateway") -}}
initContainers:
  - name: pull
    image: {{ include "diptych.image" . | quote }}
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    command: [diptych]
    args: [pull, {{ include "diptych.model" .root | quote }}]
    terminationMessagePolicy: FallbackToLogsOnError
    env:
      - {name: HF_HOME, value: /models/hub}
      {{- with .root.Values.model.pull.tokenSecret }}
      {{- if .name }}
      - {name: HF_TOKEN, valueFrom: {secretKeyRef: {name: {{ .name | quote }}, key: {{ .key | quote }}}}}
      {{- end }}
      {{- end }}
      {{- with (index .root.Values .tier).extraEnv }}
      {{- toYaml . | nindent 6 }} # a proxy, or another hub
      {{- end }}
    resources: {requests: {cpu: 100m, memory: 128Mi}, limits: {memory: 512Mi}}
    securityContext: {{- include "diptych.containerSecurity" . | nindent 6 }}
    volumeMounts:
      - {name: model, mountPath: /models/hub}
      - {name: tmp, mountPath: /tmp}
{{- end -}}
{{- end -}}
