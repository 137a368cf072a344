{{/* What both containers of `helm test` share. */}}
{{- define "diptych.testContainer" -}}
image: {{ include "diptych.image" (dict "root" . "tier" "gateway") | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  - {name: DIPTYCH_SERVER, value: "{{ include "diptych.fullname" . }}.{{ .Release.Namespace }}.svc:{{ .Values.gateway.ports.grpc }}"}
  {{- if .Values.tls.enabled }}
  - {name: DIPTYCH_TLS_CA, value: /etc/diptych/tls/ca.crt}
  {{- if .Values.tls.clientCa }}
  - {name: DIPTYCH_TLS_CERT, value: /etc/diptych/tls/tls.crt}
  - {name: DIPTYCH_TLS_KEY, value: /etc/diptych/tls/tls.key}
  {{- end }}
  {{- end }}
  {{- with .Values.apiKeys.testSecret }}
  {{- if .name }}
  - {name: DIPTYCH_API_KEY, valueFrom: {secretKeyRef: {name: {{ .name | quote }}, key: {{ .key | quote }}}}}
  {{- end }}
  {{- end }}
resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {memory: 256Mi}}
securityContext: {{- include "diptych.containerSecurity" . | nindent 2 }}
volumeMounts:
  - {name: image, mountPath: /images, readOnly: true}
  {{- if .Values.tls.enabled }}
  - {name: tls, mountPath: /etc/diptych/tls, readOnly: true}
  {{- end }}
{{- end -}}
