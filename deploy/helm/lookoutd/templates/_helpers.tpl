{{- define "lookoutd.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains "lookoutd" .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-lookoutd" (.Release.Name | trunc 43 | trimSuffix "-") -}}
{{- end -}}
{{- end }}

{{- /* The name is fixed: the rules require job="lookoutd", which comes from this label. */ -}}
{{- define "lookoutd.selector" -}}
app.kubernetes.io/name: lookoutd
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "lookoutd.labels" -}}
{{ include "lookoutd.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "lookoutd.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "lookoutd.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "lookoutd.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end }}

{{- define "lookoutd.workload" -}}
{{- ternary "StatefulSet" "Deployment" .Values.persistence.enabled -}}
{{- end }}

{{- /* lookoutd.yaml, as JSON. */ -}}
{{- define "lookoutd.settings" -}}
{{- $settings := fromYaml .Values.config -}}
{{- if hasKey $settings "Error" -}}
{{- fail (printf "config: %s" $settings.Error) -}}
{{- end -}}
{{- toJson $settings -}}
{{- end }}

{{- /* The ports of both listeners, as JSON: the only truth about them is lookoutd.yaml. */ -}}
{{- define "lookoutd.ports" -}}
{{- $settings := fromJson (include "lookoutd.settings" .) -}}
{{- $ports := dict -}}
{{- range $name, $listen := dict "intake" (get $settings "listen" | default "0.0.0.0:8480") "admin" (get $settings "admin_listen" | default "127.0.0.1:18480") -}}
{{- $port := regexFind "[0-9]+$" (toString $listen) -}}
{{- if or (regexMatch "^(127\\.|\\[::1\\]|localhost:|unix:)" (toString $listen)) (not $port) -}}
{{- fail (printf "config: the %s listener has the address %s, which neither probes nor other pods reach: set %s, as 0.0.0.0:PORT" $name $listen (ternary "listen" "admin_listen" (eq $name "intake"))) -}}
{{- end -}}
{{- $_ := set $ports $name (int $port) -}}
{{- end -}}
{{- toJson $ports -}}
{{- end }}
