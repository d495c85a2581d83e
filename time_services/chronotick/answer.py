"""What a ChronoTick server answers: it learns from a node's request and predicts that node's clock.

Everything it knows of a node is in that node's requests: the NTP samples the node took itself. With too few of them it
has no answer (503, ``warming_up``) rather than a number. Nothing is kept on disk: a server that was started again has
confirmed nothing, so that the nodes' next questions bring it back. A request ``{}`` is about the server's own clock.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from time_services.chronotick import metrics
from time_services.chronotick.node_states import Nodes
from time_services.chronotick.request import RequestError
from time_services.models import MODELS, Prediction

if TYPE_CHECKING:
    from time_services.chronotick.node_states import NodeState
    from time_services.chronotick.own_clock import OwnClock
    from time_services.chronotick.request import TimeRequest
    from time_services.misbehaviour import Misbehaviour
    from time_services.models import NotReady

DUAL = "dual"
HOW_TO_ASK_FOR_ITSELF = "its own clock is not known: start the server with --ntp-server HOST:PORT"

Labelled = tuple[dict[str, str], float]
Answer = tuple[int, dict[str, Any]]  # HTTP status, JSON body


class Service:
    """Answers for the nodes, with the model ``model`` where a request leaves that to the server."""

    def __init__(self, model: str, own: OwnClock | None = None, wrong: Misbehaviour | None = None) -> None:
        self.model = model
        self.nodes = Nodes()
        self.statuses: Counter[int] = Counter()
        self._own = own
        self._wrong = wrong
        self._new_samples = 0

    def known(self, asked: TimeRequest, address: str) -> NodeState | None:
        """Return what is known of the asking node, None where it is new."""
        return self.nodes.known(asked, address, self._model_for(asked))

    def answer(self, asked: TimeRequest | None, address: str) -> Answer:
        """Learn from the request's samples and predict the offset (reference - local wall) at its instant."""
        if asked is None:
            return self._answer_for_itself()
        name = self._model_for(asked)
        state = self.nodes.of(asked, address, name, MODELS[name])
        new = state.learn(asked)
        self._new_samples += new
        told = state.model.predict(asked.raw_ns)
        about = {"node_id": asked.node_id, "run_id": asked.run_id}
        if not isinstance(told, Prediction):
            return 503, _warming_up(told) | about
        rest = {"new_samples": new, "confirmed_raw_ns": state.confirm(), "restarts": state.restarts}
        answered = _numbers(told, asked.instant_ns) | about | rest
        return 200, answered if self._wrong is None else self._wrong.bend(answered)

    def health(self) -> dict[str, Any]:
        """Return that it lives, and for how many nodes."""
        return {"status": "healthy", "model": self.model, "nodes": len(self.nodes)}

    def metrics(self) -> str:
        """Return the counts so far, as Prometheus reads them."""
        holders = {"tagged": self.nodes.tagged, "untagged": self.nodes.untagged}
        known: list[Labelled] = [({"kind": kind}, len(held)) for kind, held in holders.items()]
        forgotten: list[Labelled] = [({"kind": kind}, held.forgotten) for kind, held in holders.items()]
        by_status: list[Labelled] = [({"status": str(code)}, count) for code, count in sorted(self.statuses.items())]
        families: list[tuple[str, str, str, list[Labelled]]] = [
            ("requests_total", "counter", "Requests answered, by HTTP status.", by_status),
            ("samples_total", "counter", "NTP samples learnt from nodes.", [({}, self._new_samples)]),
            ("nodes", "gauge", "Nodes known, with a tag of their run's key or without.", known),
            ("nodes_forgotten_total", "counter", "Nodes forgotten because there were too many.", forgotten),
            ("model_info", "gauge", "The model the server was started with.", [({"model": self.model}, 1)]),
        ]
        if self._own is not None:
            failed: list[Labelled] = [({}, self._own.failed)]
            families.append(("own_ntp_failures_total", "counter", "NTP exchanges of the server that failed.", failed))
        return "".join(
            metrics.family(f"chronotick_{name}", kind, text, values) for name, kind, text, values in families
        )

    def _answer_for_itself(self) -> Answer:
        if self._own is None:
            return 503, {"status": "not_started_for_this", "detail": HOW_TO_ASK_FOR_ITSELF}
        wall_ns, told = self._own.predict()
        if not isinstance(told, Prediction):
            why = {"last_failure": self._own.last_failure} if self._own.last_failure else {}
            return 503, _warming_up(told) | {"scope": "server"} | why
        return 200, _numbers(told, wall_ns) | {"scope": "server", "restarts": self._own.model.restarts}

    def _model_for(self, asked: TimeRequest) -> str:
        """Return the model a request asks for. Raises RequestError where it cannot be had."""
        if asked.dual is None:
            return self.model
        if asked.dual:
            return DUAL
        if self.model == DUAL:
            raise RequestError(f"use_dual_model: expected true of a server started with --model {DUAL}, got false")
        return self.model


def _numbers(told: Prediction, instant_ns: int) -> dict[str, Any]:
    return {
        "offset_ms": told.offset_s * 1e3,
        "uncertainty_ms": told.sigma_s * 1e3,
        "asymmetry_ms": told.asymmetry_s * 1e3,
        "drift_ppm": told.drift * 1e6,
        "drift_uncertainty_ppm": told.drift_sigma * 1e6,
        "prediction_time_ns": instant_ns,
        "valid_until_ns": instant_ns + int(told.valid_for_s * 1e9),
        "model": told.model,
        "samples": told.samples,
        "newest_sample_age_ms": told.newest_age_s * 1e3,
        "calibration": dict(told.calibration),
    }


def _warming_up(told: NotReady) -> dict[str, Any]:
    return {"status": "warming_up", "detail": told.detail, "samples": told.samples}
