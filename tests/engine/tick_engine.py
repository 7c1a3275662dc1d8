"""An independent, naive engine: time passes tick by tick, tokens are made one by one, and every token has its price."""

import json
from hashlib import blake2b
from types import GeneratorType, SimpleNamespace

from autotts.core.plan import MISSING, Arrivals, Blend, Draw, Join, Offer, Score


class Broke(Exception):
    """There is no money for the next token or prompt."""


def digest(data):
    return blake2b(data, digest_size=16).digest()


class TickEngine:
    """One plan in a toy world; afterwards `bill`, `time`, `made` and `prompts` are the world's own counts."""

    def __init__(self, plan, root, world, root_state, cap=None):
        self.world, self.cap = world, cap
        self.states = {root.key: root_state}
        self.path = {root.key: [(root.key, root.tokens)]}
        self.shown = set()  # (binding id, node key)
        self.time = self.seq = self.bill = 0
        self.jobs, self.count, self.scores = [], {}, {}
        self.made, self.prompts, self.calls = {}, {}, {}
        self.offer = self.done = None
        self.root_frame = self.frame(plan, None)

    def run(self):
        """(why it ended, what it chose)"""
        try:
            self.resume(self.root_frame, None)
            while self.done is None:
                due = [job for job in self.jobs if job.due(self.time)]
                if due:
                    self.land(min(due, key=lambda job: job.seq))
                else:
                    self.tick()
        except Broke:
            frame = self.root_frame
            late = frame.late(frame.values) if frame.late and frame.values else None
            self.done = ("cap", late or self.offer)
        return self.done

    def tick(self):
        """Every running draw whose next token begins now makes it; all of them or none."""
        begin = [
            job
            for job in self.jobs
            if job.kind == "draw" and job.made < job.total and (self.time - job.begun) % job.binding.ticks == 0
        ]
        self.pay(sum(self.token(job.binding.prices, job.prefix + job.made) for job in begin))
        for job in begin:
            job.made += 1
            self.made[job.binding.id] = self.made.get(job.binding.id, 0) + 1
        self.time += 1

    @staticmethod
    def token(prices, position):
        return prices.generated + prices.generated_context * position

    def pay(self, price):
        if self.cap is not None and self.bill + price > self.cap:
            raise Broke
        self.bill += price

    def frame(self, plan, up):
        self.seq += 1
        return SimpleNamespace(
            plan=plan, up=up, seq=self.seq, asks=[], kids=[], slots=[], values=[], enough=None, late=None, alive=True
        )

    def land(self, job):
        self.jobs.remove(job)
        if job.kind == "draw":
            self.finish(job)
        frame = job.up
        frame.slots[next(i for i, ask in enumerate(frame.asks) if ask is job.ask)] = job.value
        frame.values.append(job.value)
        if all(slot is not MISSING for slot in frame.slots) or (frame.enough and frame.enough(frame.values)):
            self.resume(frame, Arrivals(frame.asks, frame.slots, frame.values))

    def finish(self, job):
        node = job.value
        if isinstance(job.ask, Score):
            for rider in job.riders:
                self.at_once("echo", rider.seq, rider.ask, rider.up, node)
            return
        self.states[node.key] = job.reply.state
        if isinstance(job.ask, Draw):
            self.path[node.key] = [*self.path[job.ask.node.key], (node.key, node.tokens)]
        else:
            self.path[node.key] = [(node.key, job.prefix + node.tokens)]  # a text of its own
        self.shown.add((job.binding.id, node.key))

    def at_once(self, kind, seq, ask, up, value):
        self.jobs.append(SimpleNamespace(kind=kind, seq=seq, ask=ask, up=up, value=value, due=lambda time: True))

    def drop(self, frame, keep=()):
        """Forget what a frame waits for; a score that another waits for too is handed on."""

        def out(job):
            return job.up is frame and not any(job.ask is ask for ask in keep)

        for job in list(self.jobs):
            if job.kind == "draw":
                job.riders = [rider for rider in job.riders if not out(rider)]
            if not out(job):
                continue
            if job.kind == "draw" and job.riders:
                heir = job.riders.pop(0)
                job.ask, job.up = heir.ask, heir.up
            else:
                self.jobs.remove(job)
                if job.kind == "draw" and isinstance(job.ask, Score):
                    del self.scores[job.key]
        for kid in frame.kids:
            if kid.alive and not any(kid.plan is ask for ask in keep):
                kid.alive = False
                kid.plan.close()
                self.drop(kid)

    def resume(self, frame, send):
        while True:
            try:
                item = frame.plan.send(send)
            except StopIteration as stop:
                self.drop(frame)
                frame.alive = False
                if frame.up is None:
                    self.done = ("returned", stop.value)
                else:
                    self.at_once("plan", frame.seq, frame.plan, frame.up, stop.value)
                return
            send = None
            if isinstance(item, Offer):
                if frame.up is None:
                    self.offer = item.choice
                continue
            self.wait(frame, item)
            if frame.asks:
                return
            send = Arrivals(frame.asks, frame.slots, frame.values)

    def wait(self, frame, join):
        assert isinstance(join, Join)
        self.drop(frame, join.asks)
        waiting = [job for job in self.jobs if job.kind == "draw" for job in (job, *job.riders)]
        waiting += [job for job in self.jobs if job.kind != "draw"]
        pending = {id(job.ask) for job in waiting if job.up is frame} | {id(k.plan) for k in frame.kids if k.alive}
        frame.asks, frame.enough, frame.late = list(join.asks), join.enough, join.offer
        frame.values, frame.slots = [], [MISSING] * len(frame.asks)
        for ask in frame.asks:
            if id(ask) in pending:
                continue
            if isinstance(ask, GeneratorType):
                kid = self.frame(ask, frame)
                frame.kids.append(kid)
                self.resume(kid, None)
            else:
                self.seq += 1
                self.issue(frame, ask, self.seq)

    def issue(self, frame, ask, seq):
        binding = self.world.bindings[ask.by if isinstance(ask, Score) else ask.spec.model]
        nodes = ask.nodes if isinstance(ask, Blend) else (ask.node,)
        key = self.key(ask, binding, nodes)
        if isinstance(ask, Blend):
            prefix = new = sum(tokens for node in nodes for _, tokens in self.path[node.key])
            path = []
        else:
            path = self.path[ask.node.key]
            prefix = sum(tokens for _, tokens in path)
            new = sum(tokens for name, tokens in path if (binding.id, name) not in self.shown)
        if isinstance(ask, Score) and key in self.scores:
            self.shown |= {(binding.id, name) for name, _ in path}
            first = self.scores[key]
            if first in self.jobs:
                first.riders.append(SimpleNamespace(seq=seq, ask=ask, up=frame))
            else:
                self.at_once("echo", seq, ask, frame, first.value)
            return
        prices = binding.prices
        cached = [prices.cached for _ in range(prefix - new)]
        fresh = [prices.prompt + prices.prompt_context * position for position in range(prefix - new, prefix)]
        self.pay(prices.call + sum(cached) + sum(fresh))
        self.shown |= {(binding.id, name) for name, _ in path}
        self.prompts[binding.id] = self.prompts.get(binding.id, 0) + new
        self.calls[binding.id] = self.calls.get(binding.id, 0) + 1
        order = SimpleNamespace(ask=ask, key=key, binding=binding, prefix=prefix)
        reply = self.world.reply(order, tuple(self.states[node.key] for node in nodes))
        job = SimpleNamespace(kind="draw", seq=seq, ask=ask, up=frame, key=key, binding=binding, prefix=prefix)
        job.reply, job.value, job.begun, job.made, job.riders = reply, reply.value, self.time, 0, []
        job.total = reply.usage.generated
        job.due = lambda time: time >= job.begun + job.total * binding.ticks
        if isinstance(ask, Score):
            self.scores[key] = job
        self.jobs.append(job)

    def key(self, ask, binding, nodes):
        if isinstance(ask, Score):
            return digest(digest(json.dumps(["score", binding.id]).encode()) + ask.node.digest)
        spec = ask.spec
        parts = [type(ask).__name__.lower(), binding.id, spec.move, spec.stop]
        parts += [float(spec.temperature), float(spec.top_p), spec.nudge]
        stem = digest(json.dumps(parts).encode()) + b"".join(node.key for node in nodes)
        nth = self.count.get(stem, 0)
        self.count[stem] = nth + 1
        return digest(stem + str(nth).encode())
