{{/*
The pods of a component and what keeps them running. A service's template says what is its own:

  root          $
  name          component, as in labels and names
  service       whose image, service account and values they are
  values        values of the component: replicas, resources, autoscaling, pod, ...
  arguments     arguments of the image's entry point (list)
  ports         list of dict name, port
  environment   YAML list
  mounts        YAML list, beside what all have
  volumes       YAML list, beside what all have
  accessLog     whether it keeps access records on a disk
  grace         seconds from the request to stop until it is killed
  drain         whether it takes connections, which must first go elsewhere
  singleton     whether there must not be two of it
  checksum      of files it reads at start only
*/}}
{{- define "gantry.workload" -}}
{{- $root := .root -}}
{{- $values := .values -}}
{{- $claims := and .accessLog $root.Values.access.log.persistent -}}
{{- $scaled := and $values.autoscaling $values.autoscaling.enabled -}}
apiVersion: apps/v1
kind: {{ ternary "StatefulSet" "Deployment" (not (not $claims)) }}
metadata:
  {{- include "gantry.metadata" (dict "root" $root "name" .name) | nindent 2 }}
spec:
  {{- if .singleton }}
  replicas: 1
  {{- else if not $scaled }}
  replicas: {{ $values.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  {{- if $claims }}
  serviceName: {{ include "gantry.name" (dict "root" $root "name" .name) }}
  podManagementPolicy: Parallel
  updateStrategy:
    type: RollingUpdate
  {{- else }}
  strategy:
    {{- if .singleton }}
    type: Recreate
    {{- else }}
    type: RollingUpdate
    rollingUpdate:
      maxUnavailable: 0
      maxSurge: 1
    {{- end }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "gantry.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "gantry.pod-labels" . | nindent 8 }}
      {{- $annotations := merge (dict) (default (dict) $values.pod.annotations) (default (dict) $root.Values.pod.annotations) }}
      {{- with .checksum }}{{ $annotations = set $annotations "gantry/checksum" . }}{{ end }}
      {{- with $annotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      {{- include "gantry.pod" . | nindent 6 }}
      {{- include "gantry.spread" . | nindent 6 }}
      terminationGracePeriodSeconds: {{ .grace }}
      containers:
        - name: {{ .service }}
          {{- include "gantry.container" . | nindent 10 }}
          {{- with .ports }}
          ports:
            {{- range . }}
            - name: {{ .name }}
              containerPort: {{ .port }}
              protocol: TCP
            {{- end }}
          {{- end }}
          {{- include "gantry.probes" . | nindent 10 }}
          {{- if .drain }}
          lifecycle:
            preStop:
              exec:
                # Until every node has heard that connections go elsewhere. Python: no shell is needed.
                command: ["python", "-P", "-c", "import time; time.sleep({{ $root.Values.preStopSeconds }})"]
          {{- end }}
      volumes:
        {{- include "gantry.volumes" . | nindent 8 }}
  {{- if $claims }}
  volumeClaimTemplates:
    - metadata:
        name: access-log
      spec:
        accessModes: ["ReadWriteOnce"]
        {{- with $root.Values.access.log.storageClass }}
        storageClassName: {{ . }}
        {{- end }}
        resources:
          requests:
            storage: {{ $root.Values.access.log.size }}
  {{- end }}
{{- end -}}

{{/*
Labels of pods. The chart's version is not among them: a new chart that changes nothing restarts nothing.
*/}}
{{- define "gantry.pod-labels" -}}
{{- $labels := merge (dict) (default (dict) .values.pod.labels) (default (dict) .root.Values.pod.labels) .root.Values.commonLabels -}}
{{- $_ := set $labels "app.kubernetes.io/version" (include "gantry.label-value" .root.Chart.AppVersion) -}}
{{- toYaml (merge (include "gantry.selector" . | fromYaml) $labels) -}}
{{- end -}}

{{/*
A pod's own fields, the same for services, jobs and tests.
*/}}
{{- define "gantry.pod" -}}
{{- $pod := .values.pod -}}
{{- $all := .root.Values.pod -}}
serviceAccountName: {{ include "gantry.name" (dict "root" .root "name" .service) }}
automountServiceAccountToken: false
# Variables of Services would be read as settings: GANTRY_HTTP_PORT is one.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  {{- with .root.Values.security.runAsUser }}
  runAsUser: {{ . | int64 }}
  {{- end }}
  {{- with .root.Values.security.runAsGroup }}
  runAsGroup: {{ . | int64 }}
  {{- end }}
  {{- with .root.Values.security.fsGroup }}
  fsGroup: {{ . | int64 }}
  fsGroupChangePolicy: OnRootMismatch
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with (default $all.priorityClassName $pod.priorityClassName) }}
priorityClassName: {{ . }}
{{- end }}
{{- with (default $all.nodeSelector $pod.nodeSelector) }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with (default $all.tolerations $pod.tolerations) }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with (default $all.affinity $pod.affinity) }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
Pods of a component are spread over zones and nodes.
*/}}
{{- define "gantry.spread" -}}
{{- if not .singleton }}
{{- with .root.Values.topologySpread }}
topologySpreadConstraints:
  {{- range . }}
  - topologyKey: {{ .topologyKey }}
    maxSkew: {{ .maxSkew }}
    whenUnsatisfiable: {{ .whenUnsatisfiable }}
    labelSelector:
      matchLabels:
        {{- include "gantry.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/*
What a container may do: nothing but its work.
*/}}
{{- define "gantry.container-security" -}}
securityContext:
  allowPrivilegeEscalation: false
  privileged: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  capabilities:
    drop: ["ALL"]
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{/*
Image, command, settings, bounds and mounts of a container.
*/}}
{{- define "gantry.container" -}}
image: {{ include "gantry.image" (dict "root" .root "service" .service "image" (get .root.Values.image.references .service)) | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{- with .command }}
command: {{ toJson . }}
{{- end }}
{{- with .arguments }}
args: {{ toJson . }}
{{- end }}
{{ include "gantry.container-security" . }}
{{- with .environment }}
env:
  {{- . | trim | nindent 2 }}
{{- end }}
{{- with .values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- if .accessLog }}
  - name: access-log
    mountPath: /var/lib/gantry/access-log
  {{- end }}
  {{- if and (eq .root.Values.objectStore.kind "file") (not .storeless) }}
  - name: objects
    mountPath: /var/lib/gantry/objects
  {{- end }}
  {{- if .root.Values.trust.secretName }}
  - name: trust
    mountPath: /run/gantry/trust
    readOnly: true
  {{- end }}
  {{- with .mounts }}
  {{- . | trim | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "gantry.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: {{ .values.tmpSize }}
{{- if and .accessLog (not .root.Values.access.log.persistent) }}
- name: access-log
  emptyDir:
    sizeLimit: {{ .root.Values.access.log.size }}
{{- end }}
{{- if and (eq .root.Values.objectStore.kind "file") (not .storeless) }}
- name: objects
  persistentVolumeClaim:
    claimName: {{ default (include "gantry.name" (dict "root" .root "name" "objects")) .root.Values.objectStore.file.existingClaim }}
{{- end }}
{{- if .root.Values.trust.secretName }}
- name: trust
  secret:
    secretName: {{ .root.Values.trust.secretName }}
    items:
      - key: {{ .root.Values.trust.key }}
        path: ca.crt
{{- end }}
{{- with .volumes }}
{{ . | trim }}
{{- end }}
{{- end -}}

{{/*
Liveness touches no dependency: a database that is down is no reason to restart anything. Readiness says
"started, rules loaded, able to answer".
*/}}
{{- define "gantry.probes" -}}
startupProbe:
  httpGet:
    path: /livez
    port: http
  periodSeconds: 2
  timeoutSeconds: 3
  failureThreshold: 90
livenessProbe:
  httpGet:
    path: /livez
    port: http
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: /readyz
    port: http
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 3
{{- end -}}

{{/*
Seconds until a pod that was asked to stop is killed: dict "root" $ "drain" <seconds the service takes at
most for what is in hand>. Closing the batch and delivering access records takes up to 25 seconds more.
*/}}
{{- define "gantry.grace" -}}
{{- add .root.Values.preStopSeconds .drain 25 -}}
{{- end -}}

{{/*
Where large data sets are while they arrive: dict "spool" <values> "processes" <how many share it>.
*/}}
{{- define "gantry.spool.environment" -}}
{{ include "gantry.value" (dict "name" "GANTRY_SPOOL_FOLDER" "value" "/var/spool/gantry") }}
{{ include "gantry.value" (dict "name" "GANTRY_SPOOL_BYTES" "value" (div (mul .spool.gibibytes 858993459) .processes)) }}
{{- end -}}

{{/*
Four fifths of its size are handed out (GANTRY_SPOOL_BYTES); the rest is for transcoding.
*/}}
{{- define "gantry.spool.volume" -}}
- name: spool
  {{- if .storageClass }}
  ephemeral:
    volumeClaimTemplate:
      spec:
        accessModes: ["ReadWriteOnce"]
        storageClassName: {{ .storageClass }}
        resources:
          requests:
            storage: {{ .gibibytes }}Gi
  {{- else }}
  emptyDir:
    sizeLimit: {{ .gibibytes }}Gi
  {{- end }}
{{- end -}}
