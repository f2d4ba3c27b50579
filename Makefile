# SPDX-License-Identifier: Apache-2.0
# The verbs of this repository. Each sets up what it needs, idempotently; CI calls the same ones.
#
#   make up       set everything up, start server, guard and Mosquitto, show the demonstration
#   make test     all tests, with the short form of every long proof; fetches oidc-provider, some 5 MB,
#                 and Chromium from Debian
#   make lint     format, lint, types, who imports whom, the C: style, analyzers, lengths
#   make interop  the full matrix against real brokers and authorization servers; fetches newer
#                 Mosquittos, some 60 MB, Keycloak, some 170 MB, and RabbitMQ with its Erlang
#   make bench    measurements: medians of interleaved rounds
#   make soak     the long proofs
#   make fuzz     five million inputs over the parsers, and the plugin's under libFuzzer for some minutes
#   make pins     resolve requirements/dev.in anew (exact versions with hashes)
#   make clean    remove what the other verbs made

SHELL := /bin/sh
BIN := .venv/bin
C_SOURCES := $(wildcard src/keyfob/brokers/mosquitto/plugin/*.[ch] tests/brokers/mosquitto/plugin/*.[ch] bench/*.c fuzz/native/*.[ch] \
  examples/small_devices/*.[ch])
DIR ?= keyfob-data
# What the tests run beside Mosquitto, and whoever runs Keyfob does not need.
TESTED_WITH := chromium:chromium chromedriver:chromium-driver nginx:nginx-light \
  pg_createcluster:postgresql openssl:openssl clang:clang valgrind:valgrind

# What the examples for small devices are made with.
SMALL_WITH := curl-config:libcurl4-openssl-dev /usr/include/mosquitto.h:libmosquitto-dev \
  /usr/include/cjson/cJSON.h:libcjson-dev

.PHONY: setup up test lint interop bench soak fuzz pins clean

setup:
	@scripts/setup

up: setup
	$(BIN)/keyfob up --dir $(DIR) --demo

test:
	@scripts/setup $(TESTED_WITH)
	scripts/test

lint:
	@scripts/setup clang-format:clang-format clang-tidy:clang-tidy gcc:gcc
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	clang-format --dry-run --Werror $(C_SOURCES)
	scripts/lint-c

interop:
	@scripts/setup $(TESTED_WITH) $(SMALL_WITH)
	$(BIN)/python -m pytest -m interop --timeout 1800

bench: setup
	$(BIN)/python -m bench

soak:
	@scripts/setup $(TESTED_WITH)
	$(BIN)/python -m pytest -m soak -s --timeout 3600

fuzz:
	@scripts/setup clang:clang
	$(BIN)/python -m fuzz
	$(BIN)/python -m fuzz.libfuzzer

pins: setup
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras --no-header \
	  --no-annotate --no-emit-index-url --no-emit-find-links -o requirements/dev.txt requirements/dev.in

clean:
	rm -rf .venv build dist .cache .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -rf .import_linter_cache src/keyfob.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
