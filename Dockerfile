# Two images: `train` (driver, actors, learner) and `executor` (programs against tests, without torch). Nothing in them runs as root.
#
#   docker build --target train -t rltf:train .
#   docker build --target executor -t rltf:executor .
#
# What is installed, and in which versions, is scripts/setup.sh's business, as on any other host. TORCH_INDEX: see there; a build has no
# GPU, so without one CPU torch is installed: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 for NVIDIA GPUs.
FROM python:3.12-slim-bookworm AS base
RUN useradd --create-home --uid 1000 rltf && install -d -o rltf -g rltf /shared/runs
USER rltf
WORKDIR /home/rltf/rltf
ENV PATH=/home/rltf/rltf/.venv/bin:$PATH PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 RLTF_RUN_FOLDER=/shared/runs \
    RAY_AUTH_MODE=token RAY_worker_niceness=0 RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL=minor RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=0 \
    OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=2000 RAY_JOB_STOP_WAIT_TIME_S=180
COPY --chown=rltf:rltf . .

FROM base AS executor
RUN EXTRAS=executor bash scripts/setup.sh

# DeepSpeed compiles its optimizer where it is first used.
FROM base AS train
USER root
RUN apt-get update -qq && apt-get install -qy --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
USER rltf
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN EXTRAS=train bash scripts/setup.sh
