"""How fast `write_tokens` packs text, and how much memory it takes, beside the plain loop over the stock tokenizer.

    .venv/bin/python benchmarks/tokens.py [--megacharacters 100] [--repeats 3] [--threads 2]

Text: the prompts that ship with sae-probes. Tokenizer: a byte-level BPE of 50,000 entries made from a sample of them,
so in speed like Pythia's. Every measurement is a process of its own; the two sides take turns.
"""

import argparse
import importlib.util
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from maskedsae.text.corpus import documents
from maskedsae.text.packing import write_tokens
from maskedsae.text.settings import Corpus, TokenSettings
from maskedsae.text.tokens import Tokens

CONTEXT = 1024


def write_text(path: Path, characters: int) -> None:
    """Distinct prompts, shuffled (a file's prompts are alike), as JSON lines."""
    package = Path(importlib.util.find_spec("sae_probes").submodule_search_locations[0])
    tables = sorted(map(str, (package / "data" / "cleaned_data").glob("*.csv.zst")))
    prompts = list(dict.fromkeys(documents(Corpus(files=tuple(tables), text_field="prompt"))))
    random.Random(0).shuffle(prompts)
    lengths = itertools.accumulate(map(len, prompts))
    taken = [prompt for prompt, length in zip(prompts, lengths, strict=True) if length <= characters]
    path.write_text("".join(json.dumps({"text": prompt}) + "\n" for prompt in taken))


def corpus_of(work: Path) -> Corpus:
    return Corpus(files=(str(work / "text.jsonl"),))


def make_tokenizer(folder: Path, corpus: Corpus) -> None:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=50_000, special_tokens=["<|endoftext|>"], show_progress=False)
    backend.train_from_iterator(itertools.islice(documents(corpus), 20_000), trainer)
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|endoftext|>").save_pretrained(folder)


def packed(tokenizer: PreTrainedTokenizerFast, corpus: Corpus, contexts: int, threads: int) -> int:
    settings = TokenSettings(
        corpus=corpus,
        context_length=CONTEXT,
        train_contexts=contexts - 1,
        heldout_contexts=1,
        separator="eos",
        repeat=False,
        drop_bos=False,
    )
    with tempfile.TemporaryDirectory() as folder:
        write_tokens(folder, tokenizer, settings, bos=False, threads=threads)
        return (Tokens.open(folder, verify=False).n_train + 1) * CONTEXT


def stock(tokenizer: PreTrainedTokenizerFast, corpus: Corpus) -> int:
    """Tokenises, and neither packs nor writes: what any other program has to do at least."""
    texts, count = documents(corpus), 0
    while batch := list(itertools.islice(texts, 1000)):
        count += sum(map(len, tokenizer(batch)["input_ids"]))
    return count


def measure(side: str, work: Path, contexts: int, threads: int) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(work / "tokenizer")
    corpus = corpus_of(work)
    began, began_cpu = time.perf_counter(), time.process_time()
    tokens = stock(tokenizer, corpus) if side == "stock" else packed(tokenizer, corpus, contexts, threads)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - began_cpu
    # Linux's own count: getrusage gives a child its parent's peak.
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(
        json.dumps(
            {
                "tokens": tokens,
                "rate": tokens / seconds,
                "cpu_rate": tokens / cpu_seconds,
                "MiB": int(peak.split()[1]) / 2**10,
            }
        )
    )


def in_process(side: str, work: Path, contexts: int, threads: int) -> dict:
    arguments = ["--side", side, "--work", str(work), "--contexts", str(contexts), "--threads", str(threads)]
    # RAYON_NUM_THREADS gives the stock loop as many cores as `threads` gives ours.
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    done = subprocess.run([sys.executable, __file__, *arguments], env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def spread(values: list[float], form: str) -> str:
    return " | ".join(format(value, form) for value in (statistics.median(values), min(values), max(values)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megacharacters", type=float, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--side", choices=["stock", "write_tokens"], help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--contexts", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        return measure(given.side, given.work, given.contexts, given.threads)

    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        write_text(work / "text.jsonl", int(given.megacharacters * 1e6))
        make_tokenizer(work / "tokenizer", corpus_of(work))
        # Not counted: it tells how many contexts the text fills, and warms the file cache.
        contexts = in_process("stock", work, 0, given.threads)["tokens"] // CONTEXT
        runs = {"write_tokens": [], "stock": []}
        for _, side in itertools.product(range(given.repeats), runs):
            runs[side].append(in_process(side, work, contexts, given.threads))

    libraries = ", ".join(f"{name} {version(name)}" for name in ("tokenizers", "transformers", "numpy", "pyarrow"))
    print(
        f"{contexts * CONTEXT / 1e6:.1f}M tokens, n = {given.repeats}, {given.threads} threads, {os.cpu_count()} cores"
    )
    print(f"Python {sys.version.split()[0]}, {libraries}\n")
    print("| | median | min | max |\n|---|---|---|---|")
    units = {"rate": "tokens/s", "cpu_rate": "tokens per second of one core", "MiB": "peak memory, MiB"}
    for key, unit in units.items():
        ours, theirs = ([run[key] for run in runs[side]] for side in ("write_tokens", "stock"))
        print(f"| `write_tokens`: {unit} | {spread(ours, ',.0f')} |")
        print(f"| `stock`: {unit} | {spread(theirs, ',.0f')} |")
        print(f"| ratio of the two | {spread([a / b for a, b in zip(ours, theirs, strict=True)], '.2f')} |")
    minutes = [500e6 / run["rate"] / 60 for run in runs["write_tokens"]]
    print(f"| `write_tokens`: minutes for 500M tokens | {spread(minutes, '.1f')} |")


if __name__ == "__main__":
    main()
