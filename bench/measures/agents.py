"""Calls of agents, by one dispatcher."""

import json
import urllib.request
from typing import Any

from bench import processes, seed_agents, stack
from bench.driving import watched
from bench.measures.measure import Figures, Measure
from bench.processes import Child
from runtime.ports import free_port


class Agents(Measure):
    """A backlog of due calls, one for each conversation; worked off alone, and beside dead streams."""

    name = "agents"
    per_server = False
    agent_id = "bench-agent"
    dead_id = "dead-agent"

    def prepare(self) -> None:
        self.calls = 1_000 if self.lab.quick else 2_000
        port = free_port()
        secret = seed_agents.agent(self.agent_id, f"http://127.0.0.1:{port}/", self.calls)
        self.receiver = self.lab.started.enter_context(processes.receiver(self.lab.data, port, secret))
        self.receiver.wait_until_it_answers()
        self.dead = 5_000 if self.lab.quick else 50_000
        seed_agents.dead_agent(self.dead_id, self.dead)

    def round(self, server: Child) -> Figures:
        self._work_off()  # the first backlog after a pause warms caches up
        alone = self._work_off()
        if (buried := seed_agents.bury(self.dead_id)) != self.dead:
            self.lab.faults.append(f"agents: {buried} dead streams instead of {self.dead}")
        beside = self._work_off()
        seed_agents.dig_up(self.dead_id)
        with watched() as watch:
            again = self._work_off()
        self.lab.cpu[self.name].append(watch.shares)
        return {
            "agents": (alone + again) / 2,
            "agents_dead": beside,
            "agents_dead_ratio": 2 * beside / (alone + again),
        }

    def ceilings(self) -> Figures:
        plan = {"connections": 100, "body": "x" * 900}
        return {"plain_posts": self.lab.ceiling(self.name, "posts", plan, self.receiver)["per_second"]}

    def _work_off(self) -> float:
        """Calls per second of one backlog."""
        seed_agents.make_due(self.agent_id)
        url = f"http://127.0.0.1:{self.receiver.port}/wait?calls={self.calls}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            result = json.load(answer)
        self._check(result)
        return float((result["calls"] - 1) / (result["seconds"] or 1))

    def _check(self, result: dict[str, Any]) -> None:
        if result["calls"] != self.calls or result["different"] != self.calls or result["unsigned"]:
            self.lab.faults.append(f"agents: {self.calls} conversations were due, and this came: {result}")
        if not stack.until(lambda: not seed_agents.undelivered(self.agent_id), 5):
            self.lab.faults.append("agents: some conversations were called but not marked as delivered")
