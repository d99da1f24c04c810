# `icdpo`, for compose.yaml: the server and its embedder; the model itself runs in vLLM.
FROM python:3.11-slim
WORKDIR /src
COPY . .
RUN pip install --no-cache-dir -c constraints.txt ".[serve]"
ENTRYPOINT ["icdpo"]
CMD ["serve"]
