# dgsnet serve on a CPU. Build: docker build -t dgsnet . Run: docker compose up
FROM python:3.11-slim

RUN useradd --create-home dgsnet
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
RUN pip install --no-cache-dir -c constraints.txt '.[serve,provenance]'

USER dgsnet
WORKDIR /home/dgsnet
RUN dgsnet weights pull dgsnet-b16

EXPOSE 8000
HEALTHCHECK --interval=30s --start-period=60s CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz')"]
# Inside the container any address; which of them is published is said in compose.yaml.
ENTRYPOINT ["dgsnet", "serve", "--host", "0.0.0.0"]
CMD ["--allow-anonymous"]
