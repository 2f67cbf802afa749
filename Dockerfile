# Two images from one file: `web` has no torch, `worker` trains and serves models.
FROM python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 DATA_DIR=/data STATIC_ROOT=/srv/static
WORKDIR /srv/tunesmith
COPY pyproject.toml constraints.txt README.md ./
COPY finetune_site finetune_site
COPY accounts_app accounts_app
COPY datasets_app datasets_app
COPY jobs_app jobs_app
COPY evaluation_app evaluation_app
COPY serving_app serving_app
COPY work_kit work_kit
COPY web_kit web_kit
COPY finetune_engine finetune_engine
COPY templates templates
COPY static static
COPY manage.py ./
RUN useradd --create-home --uid 10001 tunesmith && mkdir -p /data /srv/static && chown tunesmith /data /srv/static

FROM base AS web
RUN pip install -e '.[postgres]' -c constraints.txt
USER tunesmith
EXPOSE 8000
CMD ["python", "manage.py", "start", "--host", "0.0.0.0", "--only", "web"]

FROM base AS worker
# CPU builds of torch: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG TORCH_INDEX=https://pypi.org/simple
RUN pip install torch -c constraints.txt --index-url ${TORCH_INDEX} \
 && pip install -e '.[ml,postgres]' -c constraints.txt
USER tunesmith
CMD ["python", "manage.py", "start", "--only", "gpu,model"]
