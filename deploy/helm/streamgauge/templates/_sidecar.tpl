{{/* The container of Streamgauge, without what differs between the forms. */}}
{{- define "streamgauge.sidecar" -}}
name: streamgauge
image: {{ printf "%s:%s" .Values.streamgauge.image.repository (default .Chart.AppVersion .Values.streamgauge.image.tag) }}
imagePullPolicy: {{ .Values.streamgauge.image.pullPolicy }}
{{- if .Values.streamgauge.config }}
args: ["--config", "/etc/streamgauge/streamgauge.toml"]
{{- end }}
env:
  - name: STREAMGAUGE__UPSTREAM
    value: http://127.0.0.1:{{ .Values.server.port }}
  - name: STREAMGAUGE__NAME
    value: {{ default .Release.Name .Values.name | quote }}
  - name: STREAMGAUGE__HEALTH_PATH
    value: {{ .Values.server.healthPath }}
  - name: STREAMGAUGE__LISTEN
    value: 0.0.0.0:8080
  - name: STREAMGAUGE__ADMIN
    value: 0.0.0.0:9464
  # A native sidecar gets SIGTERM when the server has ended, and no request arrives any more.
  - name: STREAMGAUGE__LAME_DUCK_SECONDS
    value: {{ eq .Values.streamgauge.form "native" | ternary 0 .Values.server.preStopSeconds | quote }}
  {{- with .Values.streamgauge.engine }}
  - name: STREAMGAUGE__ENGINE
    value: {{ . | quote }}
  {{- end }}
  {{- with .Values.streamgauge.adminTokenSecret }}
  - name: STREAMGAUGE__ADMIN_TOKEN
    valueFrom:
      secretKeyRef:
        name: {{ . }}
        key: token
  {{- end }}
  {{- with .Values.streamgauge.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
ports:
  - name: metered
    containerPort: 8080
  - name: admin
    containerPort: 9464
readinessProbe:
  httpGet:
    path: /readyz
    port: admin
  periodSeconds: 5
  timeoutSeconds: 2
livenessProbe:
  httpGet:
    path: /healthz
    port: admin
  periodSeconds: 10
  timeoutSeconds: 2
  failureThreshold: 6
resources:
  {{- toYaml .Values.streamgauge.resources | nindent 2 }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: ["ALL"]
  seccompProfile:
    type: RuntimeDefault
{{- if .Values.streamgauge.config }}
volumeMounts:
  - name: streamgauge-config
    mountPath: /etc/streamgauge
    readOnly: true
{{- end }}
{{- end -}}
