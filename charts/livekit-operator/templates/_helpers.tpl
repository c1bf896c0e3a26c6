{{- define "livekit-operator.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "livekit-operator.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "livekit-operator.name" .) -}}
{{- end -}}

{{/* Never the label app.kubernetes.io/managed-by=livekit-operator: that marks what the operator itself makes. */}}
{{- define "livekit-operator.selector" -}}
app.kubernetes.io/name: livekit-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "livekit-operator.labels" -}}
{{ include "livekit-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* image: (dict "image" .Values.image "chart" .Chart) */}}
{{- define "livekit-operator.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .chart.AppVersion }}
{{- end -}}
{{- end -}}
