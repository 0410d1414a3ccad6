# docker build -t hyperfuse .
# docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" hyperfuse fuse hsi.tif msi.tif fused.tif
#
# For GPUs: docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126 -t hyperfuse:cuda .
# and docker run --gpus all. BASE is any image of Debian with Python 3.11 or newer and its venv.
ARG BASE=python:3.12-slim

FROM ${BASE} AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY constraints.txt /package/
RUN python3 -m venv /opt/hyperfuse \
 && /opt/hyperfuse/bin/pip install --no-cache-dir -c /package/constraints.txt torch --index-url "${TORCH_INDEX}"
COPY pyproject.toml README.md LICENSE /package/
COPY src /package/src
RUN /opt/hyperfuse/bin/pip install --no-cache-dir -c /package/constraints.txt '/package[report,sensors]'

FROM ${BASE}
# The wheels of rasterio take libexpat from the system, of which Debian's newest is the right one.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends libexpat1 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 1000 --create-home hyperfuse
COPY --from=build /opt/hyperfuse /opt/hyperfuse
# Any user may run it (--user), also one without a home.
ENV PATH=/opt/hyperfuse/bin:$PATH MPLCONFIGDIR=/tmp/matplotlib
USER 1000
WORKDIR /data
ENTRYPOINT ["hyperfuse"]
