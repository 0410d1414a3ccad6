# docker build -t hyperfuse .
# docker run --rm -v "$PWD:/data" hyperfuse fuse hsi.tif msi.tif fused.tif
FROM python:3.12-slim
# The wheels of rasterio take libexpat from the system.
RUN apt-get update && apt-get install -y --no-install-recommends libexpat1 && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir torch --index-url https://download.pytorch.org/whl/cpu
COPY pyproject.toml README.md LICENSE /package/
COPY src /package/src
RUN pip install --no-cache-dir '/package[report,sensors]'
WORKDIR /data
ENTRYPOINT ["hyperfuse"]
