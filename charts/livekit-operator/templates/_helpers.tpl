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

{{/* image: (dict "image" .Values.image "value" "image" "chart" .Chart), where value is what the values call it */}}
{{- define "livekit-operator.image" -}}
{{- $repository := required (printf "%s.repository is not given: no image is published yet. Build it from this repository, push it where your cluster pulls from, and name it there (README.md, Install)." .value) .image.repository -}}
{{- if .image.digest -}}
{{ $repository }}@{{ .image.digest }}
{{- else -}}
{{ $repository }}:{{ .image.tag | default .chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* Its value is part of the name: that of a PriorityClass cannot be changed. */}}
{{- define "livekit-operator.ownPriorityClassName" -}}
{{ include "livekit-operator.name" . }}-{{ int64 .Values.priorityClass.value }}
{{- end -}}

{{- define "livekit-operator.priorityClassName" -}}
{{- if .Values.priorityClassName -}}
{{ .Values.priorityClassName }}
{{- else if .Values.priorityClass.create -}}
{{ include "livekit-operator.ownPriorityClassName" . }}
{{- end -}}
{{- end -}}

{{/* The user's, and ours of a lost node for what they say nothing about: of several that match, the shortest counts. */}}
{{- define "livekit-operator.tolerations" -}}
{{- $all := list -}}
{{- range $key := list "node.kubernetes.io/not-ready" "node.kubernetes.io/unreachable" -}}
{{- $said := false -}}
{{- range $.Values.tolerations -}}
{{- if and (has (.key | default "") (list "" $key)) (has (.effect | default "") (list "" "NoExecute")) -}}
{{- $said = true -}}
{{- end -}}
{{- end -}}
{{- if not $said -}}
{{- $all = append $all (dict "key" $key "operator" "Exists" "effect" "NoExecute" "tolerationSeconds" (int64 $.Values.lostNodeSeconds)) -}}
{{- end -}}
{{- end -}}
{{- toYaml (concat $all .Values.tolerations) -}}
{{- end -}}
