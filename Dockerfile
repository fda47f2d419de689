FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 CINEBOOK_DATA_DIR=/data
WORKDIR /app

COPY requirements.txt .
RUN pip install --disable-pip-version-check -r requirements.txt

RUN useradd --system --uid 10001 --no-create-home cinebook && install --directory --owner=cinebook /data
COPY . .
USER cinebook
VOLUME /data
EXPOSE 8000
