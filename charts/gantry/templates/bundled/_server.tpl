{{/*
A small server of one pod, for a trial or a site of one node: dict "root" $ "name" "valkey" "values" ...
"port" 6379 "command" (list) "arguments" (list) "environment" <YAML list> "data" "/data" "files" <dict path
in the pod: key in the secret> "ready" <probe, YAML>.
*/}}
{{- define "gantry.bundled" -}}
{{- $root := .root -}}
apiVersion: apps/v1
kind: StatefulSet
metadata:
  {{- include "gantry.metadata" (dict "root" $root "name" .name) | nindent 2 }}
spec:
  replicas: 1
  serviceName: {{ include "gantry.name" (dict "root" $root "name" .name) }}
  selector:
    matchLabels:
      {{- include "gantry.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "gantry.selector" . | nindent 8 }}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      securityContext:
        runAsNonRoot: true
        {{- if $root.Values.security.runAsUser }}
        runAsUser: {{ .values.user }}
        runAsGroup: {{ .values.user }}
        {{- end }}
        {{- if $root.Values.security.fsGroup }}
        fsGroup: {{ .values.user }}
        fsGroupChangePolicy: OnRootMismatch
        {{- end }}
        seccompProfile:
          type: RuntimeDefault
      {{- with $root.Values.pod.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $root.Values.pod.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      terminationGracePeriodSeconds: 60
      containers:
        - name: {{ .name }}
          image: {{ .values.image | quote }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          {{- with .command }}
          command: {{ toJson . }}
          {{- end }}
          {{- with .arguments }}
          args: {{ toJson . }}
          {{- end }}
          {{- include "gantry.container-security" . | nindent 10 }}
          {{- with .environment }}
          env:
            {{- . | trim | nindent 12 }}
          {{- end }}
          ports:
            - name: server
              containerPort: {{ .port }}
              protocol: TCP
          startupProbe:
            {{- .ready | nindent 12 }}
            periodSeconds: 3
            timeoutSeconds: 5
            failureThreshold: 60
          readinessProbe:
            {{- .ready | nindent 12 }}
            periodSeconds: 5
            timeoutSeconds: 5
          livenessProbe:
            tcpSocket:
              port: server
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          volumeMounts:
            - name: data
              mountPath: {{ .data }}
            - name: tmp
              mountPath: /tmp
            - name: run
              mountPath: /var/run/{{ .name }}
            {{- range $path, $key := .files }}
            - name: secret
              mountPath: {{ $path }}
              subPath: {{ $key }}
              readOnly: true
            {{- end }}
            {{- with .mounts }}
            {{- . | nindent 12 }}
            {{- end }}
      volumes:
        - name: tmp
          emptyDir:
            sizeLimit: 1Gi
        - name: run
          emptyDir:
            sizeLimit: 16Mi
        {{- if .files }}
        - name: secret
          secret:
            secretName: {{ include "gantry.name" (dict "root" $root "name" "bundled") }}
        {{- end }}
        {{- with .volumes }}
        {{- . | nindent 8 }}
        {{- end }}
  volumeClaimTemplates:
    - metadata:
        name: data
      spec:
        accessModes: ["ReadWriteOnce"]
        {{- with .values.storageClass }}
        storageClassName: {{ . }}
        {{- end }}
        resources:
          requests:
            storage: {{ .values.size }}
---
apiVersion: v1
kind: Service
metadata:
  {{- include "gantry.metadata" (dict "root" $root "name" .name) | nindent 2 }}
spec:
  type: ClusterIP
  selector:
    {{- include "gantry.selector" . | nindent 4 }}
  ports:
    - name: server
      port: {{ .port }}
      targetPort: server
      protocol: TCP
---
{{ include "gantry.network-policy" (dict "root" $root "name" .name
  "in" (include "gantry.peers" (dict "root" $root "names" .clients "direction" "from" "port" .port))) }}
{{- end -}}
