{{/*
Names and labels. Every object is named by gantry.name and labelled by gantry.labels.
*/}}

{{- define "gantry.chart" -}}
{{- .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/*
What all names of a release begin with. A release may be called what no Service may (dots, a leading digit).
*/}}
{{- define "gantry.fullname" -}}
{{- $chart := default (include "gantry.chart" .) .Values.nameOverride -}}
{{- $name := .Values.fullnameOverride -}}
{{- if not $name -}}
{{- $name = ternary .Release.Name (printf "%s-%s" .Release.Name $chart) (contains $chart .Release.Name) -}}
{{- end -}}
{{- $name = regexReplaceAll "[^a-z0-9-]+" (lower $name) "-" -}}
{{- if not (regexMatch "^[a-z]" $name) -}}
{{- $name = printf "%s-%s" (include "gantry.chart" .) (trimAll "-" $name) -}}
{{- end -}}
{{- trimAll "-" $name -}}
{{- end -}}

{{/*
The name of one object: dict "root" $ "name" "gateway". At most 52 characters, which is what a StatefulSet
and a CronJob leave for what is added to theirs; a name that was cut is told from its neighbours by a digest.
*/}}
{{- define "gantry.name" -}}
{{- $full := include "gantry.fullname" .root -}}
{{- $room := sub 51 (len .name) | int -}}
{{- if gt (len $full) $room -}}
{{- $digest := sha256sum $full | trunc 6 -}}
{{- $full = printf "%s-%s" ($full | trunc (sub $room 7 | int) | trimSuffix "-") $digest -}}
{{- end -}}
{{- printf "%s-%s" $full .name -}}
{{- end -}}

{{/*
Labels that select the pods of one component; they never change in the life of a release.
*/}}
{{- define "gantry.selector" -}}
app.kubernetes.io/name: {{ default (include "gantry.chart" .root) .root.Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .name | quote }}
{{- end -}}

{{/*
Labels of every object: dict "root" $ "name" <component> "labels" <further ones>; ours cannot be replaced.
*/}}
{{- define "gantry.labels" -}}
{{- $ours := dict
  "app.kubernetes.io/part-of" "gantry"
  "app.kubernetes.io/managed-by" .root.Release.Service
  "app.kubernetes.io/version" (include "gantry.label-value" .root.Chart.AppVersion)
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | include "gantry.label-value") -}}
{{- toYaml (merge (include "gantry.selector" . | fromYaml) $ours (default (dict) .labels) .root.Values.commonLabels) -}}
{{- end -}}

{{- define "gantry.label-value" -}}
{{- regexReplaceAll "[^A-Za-z0-9._-]" . "_" | trunc 63 | trimAll "._-" -}}
{{- end -}}

{{/*
Name, namespace and labels of an object, and its annotations when there are any:
dict "root" $ "name" <object's name> "component" <component, by default the name> "annotations" (dict).
*/}}
{{- define "gantry.metadata" -}}
name: {{ include "gantry.name" (dict "root" .root "name" .name) }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "gantry.labels" (dict "root" .root "name" (default .name .component) "labels" .labels) | nindent 2 }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
The image of a service: dict "root" $ "service" "gateway" "image" <whole reference or empty>.
*/}}
{{- define "gantry.image" -}}
{{- if .image -}}
{{- .image -}}
{{- else -}}
{{- $image := .root.Values.image -}}
{{- $repository := printf "%s/%s" $image.repository .service -}}
{{- with $image.registry }}{{- $repository = printf "%s/%s" . $repository -}}{{- end -}}
{{- with get $image.digests .service -}}
{{- printf "%s@%s" $repository . -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .root.Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
Scheme, host and port of the public URL, without a slash at the end.
*/}}
{{- define "gantry.origin" -}}
{{- .Values.publicUrl | trimSuffix "/" -}}
{{- end -}}

{{- define "gantry.host" -}}
{{- get (urlParse .Values.publicUrl) "hostname" | lower -}}
{{- end -}}

{{- define "gantry.has-logins" -}}
{{- if eq .Values.access.policy "rules" }}yes{{ end -}}
{{- end -}}
