# What the tasks of a cluster run in. A GPU's libraries, or another backend:
#   docker build --build-arg EXTRAS="tensorflow[and-cuda]==2.21.0" -t shoulders:latest .
FROM python:3.11-slim
ARG EXTRAS=""
WORKDIR /app
COPY requirements.lock .
RUN pip install --no-cache-dir --require-hashes --no-deps --requirement requirements.lock \
    && if [ -n "$EXTRAS" ]; then pip install --no-cache-dir $EXTRAS; fi
COPY . .
ENV PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1
RUN python -m components.served.sbom > sbom.cdx.json
# Nobody, of the group that volumes are writable for; it writes to the store alone.
USER 10001:0
ENTRYPOINT ["python", "/app/run_pipeline.py"]
