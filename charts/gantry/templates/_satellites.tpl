{{/*
What stands beside a workload: service account, disruption budget, autoscaler, network policy.
*/}}

{{- define "gantry.service-account" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "gantry.metadata" (dict "root" .root "name" .name "annotations" (merge (dict) (default (dict) .annotations) (default (dict) .values.serviceAccount.annotations))) | nindent 2 }}
automountServiceAccountToken: false
{{- end -}}

{{/*
At most one pod of a component at a time is taken away by a drained node.
*/}}
{{- define "gantry.disruption-budget" -}}
{{- $capabilities := .root.Capabilities -}}
{{- $least := .values.replicas -}}
{{- if and .values.autoscaling .values.autoscaling.enabled }}{{ $least = .values.autoscaling.minReplicas }}{{ end -}}
{{- if and .root.Values.disruptionBudgets.enabled (gt (int $least) 1) -}}
apiVersion: {{ ternary "policy/v1" "policy/v1beta1" (and ($capabilities.APIVersions.Has "policy/v1") (semverCompare ">=1.21-0" $capabilities.KubeVersion.Version)) }}
kind: PodDisruptionBudget
metadata:
  {{- include "gantry.metadata" (dict "root" .root "name" .name) | nindent 2 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "gantry.selector" . | nindent 6 }}
{{- end -}}
{{- end -}}

{{- define "gantry.autoscaler" -}}
{{- $capabilities := .root.Capabilities -}}
{{- $scaling := .values.autoscaling -}}
{{- if $scaling.enabled -}}
apiVersion: {{ ternary "autoscaling/v2" "autoscaling/v2beta2" (and ($capabilities.APIVersions.Has "autoscaling/v2") (semverCompare ">=1.23-0" $capabilities.KubeVersion.Version)) }}
kind: HorizontalPodAutoscaler
metadata:
  {{- include "gantry.metadata" (dict "root" .root "name" .name) | nindent 2 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: {{ .kind }}
    name: {{ include "gantry.name" (dict "root" .root "name" .name) }}
  minReplicas: {{ $scaling.minReplicas }}
  maxReplicas: {{ $scaling.maxReplicas }}
  metrics:
    {{- with $scaling.cpuPercent }}
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ . }}
    {{- end }}
    {{- with $scaling.associations }}
    - type: Pods
      pods:
        metric:
          name: {{ .metric }}
        target:
          type: AverageValue
          averageValue: {{ .target | toString | quote }}
    {{- end }}
    {{- with $scaling.queueDepth }}
    - type: External
      external:
        metric:
          name: {{ .metric }}
          {{- with .matchLabels }}
          selector:
            matchLabels:
              {{- toYaml . | nindent 14 }}
          {{- end }}
        target:
          type: AverageValue
          averageValue: {{ .target | toString | quote }}
    {{- end }}
  behavior:
    scaleUp:
      stabilizationWindowSeconds: 0
    scaleDown:
      # Who is taken away lets go of associations and caches: not before it has been quiet for a while.
      stabilizationWindowSeconds: {{ $scaling.quietSeconds }}
      policies:
        - type: Pods
          value: 1
          periodSeconds: 60
{{- end -}}
{{- end -}}

{{/*
The kind of a workload that keeps access records.
*/}}
{{- define "gantry.recording-kind" -}}
{{- ternary "StatefulSet" "Deployment" .Values.access.log.persistent -}}
{{- end -}}

{{/*
Which connections the pods of a component may have: dict "root" $ "name" <component> "in" <YAML list of
ingress rules> "out" <YAML list of egress rules> "annotations" (dict).
*/}}
{{- define "gantry.network-policy" -}}
{{- if .root.Values.networkPolicy.enabled -}}
{{- $scraped := and .scraped .root.Values.networkPolicy.monitoring -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "gantry.metadata" (dict "root" .root "name" .name "annotations" .annotations) | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "gantry.selector" . | nindent 6 }}
  policyTypes: ["Ingress", "Egress"]
  {{- if or .in $scraped }}
  ingress:
    {{- with .in }}
    {{- . | trim | nindent 4 }}
    {{- end }}
    {{- if $scraped }}
    - from:
        {{- toYaml .root.Values.networkPolicy.monitoring | nindent 8 }}
      ports:
        - port: 8080
          protocol: TCP
    {{- end }}
  {{- else }}
  ingress: []
  {{- end }}
  egress:
    {{- include "gantry.egress.names" .root | nindent 4 }}
    {{- with .out }}
    {{- . | trim | nindent 4 }}
    {{- end }}
    {{- if and .scraped .root.Values.tracing.otlpEndpoint }}
    {{- include "gantry.egress.outside" .root.Values.networkPolicy.collector | nindent 4 }}
    {{- end }}
{{- end -}}
{{- end -}}

{{/*
Pods of another component: dict "root" $ "names" (list ...) "direction" "from"|"to" "port" 8080.
*/}}
{{- define "gantry.peers" -}}
{{- $root := .root -}}
- {{ .direction }}:
    {{- range .names }}
    - podSelector:
        matchLabels:
          {{- include "gantry.selector" (dict "root" $root "name" .) | nindent 10 }}
    {{- end }}
  ports:
    - port: {{ .port }}
      protocol: TCP
{{- end -}}

{{/*
Something outside of the release: dict "peers" <list, empty is anywhere> "ports" <list>.
*/}}
{{- define "gantry.egress.outside" -}}
- ports:
    {{- range .ports }}
    - port: {{ . }}
      protocol: TCP
    {{- end }}
  {{- with .peers }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "gantry.egress.names" -}}
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
  {{- with .Values.networkPolicy.dns }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "gantry.egress.postgresql" -}}
{{- if .Values.bundled.postgresql.enabled -}}
{{ include "gantry.peers" (dict "root" . "names" (list "postgresql") "direction" "to" "port" 5432) }}
{{- else -}}
{{ include "gantry.egress.outside" .Values.networkPolicy.postgresql }}
{{- end -}}
{{- end -}}

{{- define "gantry.egress.redis" -}}
{{- if .Values.bundled.valkey.enabled -}}
{{ include "gantry.peers" (dict "root" . "names" (list "valkey") "direction" "to" "port" 6379) }}
{{- else -}}
{{ include "gantry.egress.outside" .Values.networkPolicy.redis }}
{{- end -}}
{{- end -}}

{{- define "gantry.egress.store" -}}
{{- if eq .Values.objectStore.kind "s3" -}}
{{- if .Values.bundled.s3.enabled -}}
{{ include "gantry.peers" (dict "root" . "names" (list "s3") "direction" "to" "port" 8333) }}
{{- else -}}
{{ include "gantry.egress.outside" .Values.networkPolicy.objectStore }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
Whoever brings HTTP from outside: the ingress controllers, and clients of a gateway that has a port of its own.
*/}}
{{- define "gantry.from-ingress" -}}
- ports:
    - port: 8080
      protocol: TCP
  from:
    {{- toYaml .Values.networkPolicy.ingressControllers | nindent 4 }}
{{- if ne .Values.gateway.service.type "ClusterIP" }}
- ports:
    - port: 8080
      protocol: TCP
  {{- with .Values.networkPolicy.clients }}
  from:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end -}}
