"""A PostgreSQL that says nothing is given up, as one that has gone."""

from __future__ import annotations

import os
import signal
import time

import psycopg
import pytest
from django.db import connection

from cinebook import patient_connection
from cinebook.patient_connection import PatientConnection

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> PatientConnection:
    monkeypatch.setattr(patient_connection, "ANSWER_SECONDS", 0.5)
    parameters = connection.get_connection_params()
    plain = {name: parameters[name] for name in ("dbname", "user", "password", "host", "port") if parameters.get(name)}
    return PatientConnection.connect(**plain, autocommit=True)


def test_what_never_answers_is_given_up(patient: PatientConnection) -> None:
    backend = patient.info.backend_pid
    os.kill(backend, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(psycopg.OperationalError, match="has not answered"):
            patient.execute("SELECT 1")
        assert 0.5 <= time.monotonic() - began < 5
        assert patient.closed
    finally:
        os.kill(backend, signal.SIGCONT)


def test_what_takes_a_moment_is_waited_for(patient: PatientConnection) -> None:
    with patient:
        assert patient.execute("SELECT 'well' FROM pg_sleep(0.2)").fetchone() == ("well",)
