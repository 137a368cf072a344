{{/* The flags of a process as a list in YAML. Takes {root, tier}. */}}
{{- define "diptych.arguments" -}}
{{- $values := .root.Values -}}
{{- $tier := index $values .tier -}}
- --listen=0.0.0.0:{{ $tier.ports.grpc }}
- --metrics_listen=0.0.0.0:{{ $tier.ports.metrics }}
- --log_level={{ $values.logLevel }}
- --log_format={{ $values.logFormat }}
{{- with $values.tracing.endpoint }}
- --otlp_endpoint={{ . }}
- --trace_sample_ratio={{ $values.tracing.sampleRatio }}
{{- end }}
- --drain_delay={{ $values.drain.delay }}
- --drain_timeout={{ $values.drain.timeout }}
{{ include (ternary "diptych.gatewayArguments" "diptych.tierArguments" (eq .tier "gateway")) . }}
{{- if ne .tier "vision" }}
- --vision_target={{ include "diptych.target" (dict "root" .root "tier" "vision") }}
{{- end }}
{{- if $values.tls.enabled }}
- --tls_cert=/etc/diptych/tls/tls.crt
- --tls_key=/etc/diptych/tls/tls.key
{{- if or (ne .tier "gateway") $values.tls.clientCa }}
- --tls_client_ca=/etc/diptych/tls/ca.crt
{{- end }}
{{- end }}
{{- range $name, $value := $tier.flags }}
- {{ printf "--%s=%s" $name (include "diptych.flagValue" $value) | quote }}
{{- end }}
{{- range $tier.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "diptych.gatewayArguments" -}}
- --http_listen=0.0.0.0:{{ .root.Values.gateway.ports.http }}
- --http_hosts={{ include "diptych.hosts" .root }}
- --language_target={{ include "diptych.target" (dict "root" .root "tier" "language") }}
{{- if .root.Values.apiKeys.secretName }}
- --api_keys_file=/etc/diptych/keys/{{ .root.Values.apiKeys.key }}
{{- end }}
{{- if .root.Values.tls.enabled }}
- --tls_tier_ca=/etc/diptych/tier-ca/ca.crt
{{- end }}
{{- end -}}

{{- define "diptych.tierArguments" -}}
{{- $tier := index .root.Values .tier -}}
- --model={{ include "diptych.model" .root }}
- --device={{ $tier.device }}
- --dtype={{ $tier.dtype }}
- --max_connection_age={{ .root.Values.maxConnectionAge }}
{{- if and (eq .tier "language") .root.Values.vision.autoscaling.enabled (eq (int .root.Values.vision.autoscaling.minReplicas) 0) }}
- --wait_for_vision=true
{{- end }}
{{- end -}}
