"""The counters of a fake server in Prometheus' text, under the names that vLLM uses."""

from __future__ import annotations

from autotts.worlds.fake_server.counts import Counts


def metrics(counts: Counts, running: int, waiting: int) -> str:
    """The text of /metrics; the tokens of cancelled requests are in the totals, as in vLLM."""
    lines = []
    for name, kind, field in (
        ("prompt_tokens_total", "counter", "prompt"),
        ("generation_tokens_total", "counter", "generated"),
        ("prefix_cache_queries_total", "counter", "prompt"),
        ("prefix_cache_hits_total", "counter", "cached"),
        ("request_success_total", "counter", "finished"),
    ):
        lines.append(f"# TYPE vllm:{name} {kind}")
        for model, tally in counts.by_model.items():
            lines.append(f'vllm:{name}{{model_name="{model}"}} {getattr(tally, field):.1f}')
    for name, value in (("num_requests_running", running), ("num_requests_waiting", waiting)):
        lines += [f"# TYPE vllm:{name} gauge", f"vllm:{name} {value:.1f}"]
    return "\n".join(lines) + "\n"
