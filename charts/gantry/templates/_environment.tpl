{{/*
What services read from the environment. Each name is a field of the service's settings.py; tests/chart
holds them equal.
*/}}

{{/*
A setting: dict "name" "GANTRY_..." "value" <string, number or bool>. Helm reads numbers as floating point
and would write large ones with an exponent.
*/}}
{{- define "gantry.value" -}}
{{- $value := .value -}}
{{- if kindIs "float64" $value -}}
{{- if eq (floor $value) $value }}{{ $value = int64 $value }}{{ end -}}
{{- end -}}
- name: {{ .name }}
  value: {{ $value | toString | quote }}
{{- end -}}

{{/*
A setting out of a Secret: dict "name" "GANTRY_..." "secret" (dict "name" ... "key" ...).
*/}}
{{- define "gantry.secret-value" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret.name }}
      key: {{ .secret.key }}
{{- end -}}

{{/*
Reference to a value in a Secret, the bundled server's own where that runs:
dict "root" $ "bundled" <bool> "key" <key there> "given" <dict name, key>.
*/}}
{{- define "gantry.secret" -}}
{{- if .bundled -}}
name: {{ include "gantry.name" (dict "root" .root "name" "bundled") }}
key: {{ .key }}
{{- else -}}
name: {{ .given.name }}
key: {{ .given.key }}
{{- end -}}
{{- end -}}

{{- define "gantry.environment.seal-keys" -}}
{{- $given := .Values.sealKeys.secret -}}
{{- if .Values.sealKeys.generate -}}
{{- $given = dict "name" (include "gantry.name" (dict "root" . "name" "seal-keys")) "key" "keys" -}}
{{- end -}}
{{ include "gantry.secret-value" (dict "name" "GANTRY_SEAL_KEYS" "secret" $given) }}
{{- end -}}

{{- define "gantry.environment.index" -}}
{{- $secret := include "gantry.secret" (dict "root" . "bundled" .Values.bundled.postgresql.enabled "key" "index-dsn" "given" .Values.databases.index) | fromYaml -}}
{{ include "gantry.secret-value" (dict "name" "GANTRY_INDEX_DSN" "secret" $secret) }}
{{- end -}}

{{- define "gantry.environment.core" -}}
{{- $secret := include "gantry.secret" (dict "root" . "bundled" .Values.bundled.postgresql.enabled "key" "core-dsn" "given" .Values.databases.core) | fromYaml -}}
{{ include "gantry.secret-value" (dict "name" "GANTRY_CORE_DSN" "secret" $secret) }}
{{- end -}}

{{- define "gantry.environment.redis" -}}
{{- $secret := include "gantry.secret" (dict "root" . "bundled" .Values.bundled.valkey.enabled "key" "redis-url" "given" .Values.redis) | fromYaml -}}
{{ include "gantry.secret-value" (dict "name" "GANTRY_REDIS_URL" "secret" $secret) }}
{{- end -}}

{{- define "gantry.store-url" -}}
{{- $store := .Values.objectStore -}}
{{- if eq $store.kind "file" -}}
file:///var/lib/gantry/objects
{{- else -}}
{{- $endpoint := $store.s3.endpoint -}}
{{- if .Values.bundled.s3.enabled -}}
{{- $endpoint = printf "http://%s:8333" (include "gantry.name" (dict "root" . "name" "s3")) -}}
{{- end -}}
{{- $prefix := trimAll "/" $store.s3.prefix -}}
s3://{{ $store.s3.bucket }}{{ with $prefix }}/{{ . }}{{ end }}?region={{ $store.s3.region | urlquery }}&style={{ $store.s3.style }}{{ with $endpoint }}&endpoint={{ . | urlquery }}{{ end }}
{{- end -}}
{{- end -}}

{{/*
The object store and its credentials: dict "root" $ "secret" <dict name, accessKey, secretKey>.
*/}}
{{- define "gantry.environment.store" -}}
{{ include "gantry.value" (dict "name" "GANTRY_STORE_URL" "value" (include "gantry.store-url" .root)) }}
{{- if eq .root.Values.objectStore.kind "s3" }}
{{- $name := .secret.name -}}
{{- $keys := dict "access" .secret.accessKey "secret" .secret.secretKey -}}
{{- if .root.Values.bundled.s3.enabled -}}
{{- $name = include "gantry.name" (dict "root" .root "name" "bundled") -}}
{{- $keys = dict "access" "s3-access-key" "secret" "s3-secret-key" -}}
{{- end }}
{{- if $name }}
{{ include "gantry.secret-value" (dict "name" "GANTRY_S3_ACCESS_KEY" "secret" (dict "name" $name "key" $keys.access)) }}
{{ include "gantry.secret-value" (dict "name" "GANTRY_S3_SECRET_KEY" "secret" (dict "name" $name "key" $keys.secret)) }}
{{- end }}
{{- end }}
{{- end -}}

{{/*
What every service has: dict "root" $ "secret" <credentials of the object store>.
*/}}
{{- define "gantry.environment.common" -}}
{{- $root := .root -}}
{{ include "gantry.value" (dict "name" "GANTRY_HTTP_HOST" "value" $root.Values.listenHost) }}
{{ include "gantry.value" (dict "name" "GANTRY_HTTP_PORT" "value" 8080) }}
{{ include "gantry.value" (dict "name" "GANTRY_LOG_LEVEL" "value" $root.Values.logLevel) }}
{{- with $root.Values.tracing.otlpEndpoint }}
{{ include "gantry.value" (dict "name" "GANTRY_OTLP_ENDPOINT" "value" .) }}
{{ include "gantry.value" (dict "name" "GANTRY_TRACE_SHARE" "value" $root.Values.tracing.share) }}
{{- end }}
{{ include "gantry.environment.seal-keys" $root }}
{{ include "gantry.environment.redis" $root }}
{{ include "gantry.environment.store" . }}
{{- end -}}

{{/*
What stands before every route and every DIMSE service.
*/}}
{{- define "gantry.environment.access" -}}
{{ include "gantry.value" (dict "name" "GANTRY_POLICY" "value" .Values.access.policy) }}
{{ include "gantry.value" (dict "name" "GANTRY_POLICY_MAX_AGE_SECONDS" "value" .Values.access.policyMaxAgeSeconds) }}
{{ include "gantry.environment.access-log" . }}
{{- end -}}

{{- define "gantry.environment.access-log" -}}
{{ include "gantry.value" (dict "name" "GANTRY_ACCESS_LOG_FOLDER" "value" "/var/lib/gantry/access-log") }}
{{- end -}}

{{/*
Whose word about a caller's address is taken (a setting of uvicorn).
*/}}
{{- define "gantry.environment.proxies" -}}
{{ include "gantry.value" (dict "name" "FORWARDED_ALLOW_IPS" "value" (join "," .Values.ingress.trustedProxies)) }}
{{- end -}}

{{/*
Further settings of a service by their names. The schema has no name among them that the chart sets itself.
*/}}
{{- define "gantry.environment.further" -}}
{{- range $name, $value := . }}
{{ include "gantry.value" (dict "name" $name "value" $value) }}
{{- end }}
{{- end -}}
