"""report.html: whole in one file, with the numbers of scores.csv, warnings where they are due, shown by a browser."""

import html.parser
import json
import re
import shutil
import subprocess
from contextlib import chdir
from copy import deepcopy
from itertools import pairwise
from pathlib import Path

import pytest

from maskedsae.experiment import outputs
from maskedsae.experiment.grid import score_files, training_jobs
from maskedsae.jobs.errors import InputError
from maskedsae.report import contents, records, tables
from maskedsae.report.page import write_page
from maskedsae.report.settings import StepSettings
from maskedsae.report.writers import MINUS
from maskedsae.saes.cells import Cell
from maskedsae.scores.table import read_rows
from reported import DEMO, PAPER, cells_of, checked, page_of, write_run

FIGURES = contents.FIGURES.keys() - {"convergence"}  # which needs two trainers

# Two jobs of two SAEs each, which share a clock.
CLOCKS = {"a.json": (["a", "b"], 3600), "b.json": (["a", "b"], 3600), "c.json": (["c", "d"], 1800)}
CLOCKS |= {"d.json": (["d", "c"], 1800)}
STEPS = (
    StepSettings("SAEs", 1, ("train_1.tsv", "train_2.tsv"), tuple(CLOCKS)),
    StepSettings("probes", 0, ("ood.tsv",), ()),
)
BENCHMARK = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(html.parser.HTMLParser):
    """Its text, ids and links; `open` is empty at the end if every element was closed in its turn."""

    def __init__(self, source: str):
        super().__init__()
        self.source, self.open, self.tags, self.ids, self.links, self.words = source, [], [], [], [], []
        self.feed(source)
        self.close()
        self.text = re.sub(r"\s+", " ", "".join(self.words))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.ids += [value for name, value in attributes if name == "id"]
        self.links += [value for name, value in attributes if name in ("href", "src", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        if not {"style", "title"} & set(self.open):
            self.words.append(data)


def make_page(folder: Path, config: dict = DEMO, lost: str = "", **changes) -> Path:
    write_run(folder, config, **changes)
    # The second training was resumed: its benchmark file has the last 1000 seconds of 1800.
    for seconds, file in ((3600, "train_1.tsv"), (1000, "train_2.tsv"), (90, "ood.tsv")):
        Path(folder, file).write_text(f"{BENCHMARK}{seconds}.0\t-\t2048.0\t0\t0\t0\t0\t0\t50\t{seconds / 2}\n")
    write_clocks(folder, CLOCKS)
    Path(folder, lost).unlink() if lost else None
    with chdir(folder):
        to = Path("results", config["run"], "report.html")
        write_page(*page_of(config, STEPS), to)
    return folder / to


def write_clocks(folder: Path, clocks: dict[str, tuple[list[str], float]]) -> list[str]:
    """SAEs' provenance.json, as far as it tells of time; their paths."""
    for file, (together, seconds) in clocks.items():
        Path(folder, file).write_text(json.dumps({"trained_with": together, "wall_seconds": seconds}))
    return [str(Path(folder, file)) for file in clocks]


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return make_page(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def page(file) -> Page:
    return Page(file.read_text())


def test_it_is_well_formed(page):
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert page.source.startswith('<!doctype html>\n<html lang="en">')


def test_nothing_outside_is_needed_to_show_it(page, file):
    for link in page.links:
        beside = not re.match(r"[a-z]+:|//", link)
        assert beside or link == "https://arxiv.org/abs/2604.06495", link
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert not re.search(r"url\((?!#)", page.source)
    assert "@import" not in page.source
    assert file.stat().st_size < 3e6


def test_its_own_links_lead_somewhere(page, file):
    made_elsewhere = ("benchmarks/", ".pdf", ".png", "/scores/")  # other rules' files
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids, link
        elif not link.startswith("https:") and not link.endswith(made_elsewhere[:3]) and "/scores/" not in link:
            assert (file.parent / link).exists(), link


def test_links_to_scores_are_those_files_that_the_grid_has(page):
    wanted = {
        str(Path(path).relative_to("results/demo"))
        for cell in cells_of(DEMO)
        for path in score_files(checked(DEMO), cell)
    }
    assert len(wanted) == 14 * 11
    assert {link for link in page.links if "/scores/" in link} == wanted


def test_every_number_of_the_tables_is_in_scores_csv(page, file):
    """Each cell of the page's tables again, from the csv that another test compares with the JSON files."""
    values = {f"{value:.3f}" for row in read_rows(file.parent / "scores.csv") for value in (100 * row.value,)}
    values |= {f"{100 - 100 * row.value:.3f}" for row in read_rows(file.parent / "scores.csv")}
    values |= {f"{row.value:.3f}" for row in read_rows(file.parent / "scores.csv")}  # split features, a count
    section = page.source.split('<section id="tables">')[1].split("<svg")[0]
    shown = [row for row in re.findall(r"<tr.*?</tr>", section) if not re.search("l0|gain|paper", row)]
    numbers = [number for row in shown for number in re.findall(r'<td class="number[^>]*>(\d+\.\d{3})</td>', row)]
    assert len(numbers) == 3 * 8 * 4  # eight metrics of two streams at two l0s, or of four streams at one
    assert set(numbers) <= values


def test_l0_on_clean_text_is_warned_of_above_five_percent_and_no_sooner(page):
    rows = re.findall(r'<td>(\d+)</td><td>([\d.]+)</td><td( class="off")?>([^<]*%)', page.source)
    assert len(rows) == 14
    for nominal, achieved, warned, off in rows:
        assert bool(warned) == (abs(float(achieved) / int(nominal) - 1) > 0.05), off
    assert sum(bool(warned) for _, _, warned, _ in rows) == 9
    assert "more than 5% off the nominal one for 9 of 14 SAEs: pythia-demo mask20 l0 8 (10.0)" in page.text


def test_each_sae_stands_with_its_own_measures(page):
    """In the order of the grid; explained variance as it is, and not with a constant left out of account."""
    row = r'</span>([^<]*)</td>\s*<td>(\d+)</td><td>([\d.]+)</td>.*\s*<td>([\d.]+)</td><td class="number">([^<]*)<'
    (more,) = DEMO["analysis"]["baseline_l0"]
    assert re.findall(row, page.source)[:7] == [
        ("without masking", "8", "8.0", "0.900", "10 of 100"),
        ("without masking", f"{more}", f"{more}.0", "0.900", "10 of 100"),
        ("without masking", "20", "20.0", "0.900", "10 of 100"),
        ("masked, p = 0.2", "8", "10.0", "0.900", "10 of 100"),
        ("masked, p = 0.3", "8", "11.4", "0.900", "10 of 100"),
        ("masked, p = 0.3", "20", "28.6", "0.900", "10 of 100"),
        ("masked, p = 0.5", "8", "16.0", "0.900", "10 of 100"),
    ]


def test_each_sae_has_its_l0_on_the_texts_of_each_score(page):
    """Made up as the l0 on clean text, and one more for each text."""
    heads = ["clean text", "absorption", "core", "sparse probing", "TPP", "SCR", "OOD"]
    assert "".join(f'<th scope="col">{head}</th>' for head in heads) in page.source
    row = r"<td>20</td>" + 7 * r"<td>([\d.]+)</td>" + "</tr>"
    clean = ("20.0", "21.0", "22.0", "23.0", "24.0", "25.0", "26.0")
    assert re.findall(row, page.source)[0] == clean


@pytest.mark.parametrize(("l0", "warned"), [(8.4, False), (8.41, True), (7.6, False), (7.59, True)])
def test_the_threshold_itself(l0, warned):
    sae = records.Sae(Cell("r", "m", "s", "t", 8, 0), {"l0": l0, "nominal_l0": 8}, {})
    assert sae.off_by_much == warned


def test_more_than_half_of_the_latents_dead_is_warned_of(page, tmp_path):
    assert "More than half of the latents are dead" not in page.text
    dead = Page(make_page(tmp_path, dead=51).read_text())
    assert "More than half of the latents are dead in pythia-demo clean l0 8 (51%)" in dead.text


def test_it_says_whose_step_trained_the_saes(page, tmp_path):
    """So whoever trains the paper's grid with ours says so in the report."""
    assert "Each stepdictionary_learning's own (training.step: stock)" in page.text
    fast = Page(make_page(tmp_path, step="fast").read_text())
    assert "Each stepours, dictionary_learning's arithmetic up to rounding (training.step: fast; docs" in fast.text


def test_a_demo_says_so_at_the_top_and_on_every_figure(page):
    assert tables.DEMO in page.text.split("Contents")[0][:600]
    svgs = re.findall(r"<svg.*?</svg>", page.source, re.DOTALL)
    assert len(svgs) == len(FIGURES)
    written = [" ".join(re.findall("<!-- (.*?) -->", svg)) for svg in svgs]  # of each line
    assert all(tables.DEMO in words for words in written)


def test_the_audit_says_what_fires_and_of_how_many(page):
    saes = len(cells_of(DEMO))
    masked = sum(cell.stream == "mask30" for cell in cells_of(DEMO))
    said = f"Of {saes} finished SAEs it objects to dead latents for {masked}, false positives for {masked}."
    assert said in page.text
    table = page.text.split("beyond its threshold")[1].split("Variance of the loss and")[0]
    for words, count in (("8.0%", masked), ("+18%", masked), ("2.0%", saes - masked), ("before: 1 of 2", masked)):
        assert table.count(words) == count, words
    assert table.count(f"{MINUS}10%") == table.count("agree") == saes and table.count("—") == 2 * saes
    warned = re.findall(r'<td><span class="chip warn">([^<]*)</span>', page.source)
    assert sorted(warned) == sorted(["8.0%", "+18%"] * masked)


def test_claims_have_verdicts(page, file):
    verdicts = json.loads((file.parent / "verdicts.json").read_text())["claims"]
    assert f"{len(verdicts)} not tested" in page.text
    for verdict in verdicts:
        assert re.sub(r"\s+", " ", f"“{verdict['text']}”{verdict['place']}") in page.text
        assert f"Taken to mean: {verdict['read_as']}" in page.text or verdict["read_as"] is None


def test_what_makes_a_run_another_experiment_is_said_once(page, tmp_path):
    words = "A claim is tested only on SAEs of the paper's own experiment. Here these settings differ: "
    assert page.text.count(f"{words}language models that the workflow trained itself. ") == 1
    config = deepcopy(PAPER)
    config["training"]["batch"] = 4096
    other = Page(make_page(tmp_path / "other", config).read_text())
    claims = other.text.split("The paper's claims")[1].split("Out of distribution")[0]
    assert claims.count("training.batch 4096 and not 2048") == 1
    assert words not in Page(make_page(tmp_path / "paper", PAPER).read_text()).text


def test_a_reason_that_many_claims_share_stands_once(page):
    for hub, count in (("EleutherAI/pythia-160m-deduped", 22), ("google/gemma-2-2b", 16)):
        assert page.text.count(f"{count} claims, since {hub} is not part of this run") == 1
        assert page.text.count(f"{hub} is not part of this run") == 1
    assert page.text.count("every SAE in the paper has one architecture") == 1  # a reason of the claim's own


def test_assays_that_were_not_made_are_said_once_for_all_models(page):
    section = page.source.split('<section id="answer">')[1].split("</section>")[0]
    declared = section.split("What was declared")[1]
    assert "not shown" not in declared
    assert declared.count("clean@20 - clean@8: better") == 3  # of absorption, explained variance and parents
    assert re.sub("<.*?>", "", declared).count("not made one data seed") == 3


def test_the_papers_printed_numbers_have_a_section_of_their_own(page):
    section = page.source.split('<section id="printed">')[1].split("</section>")[0]
    assert section.count("<tr") == 1 + 16
    assert re.search(r'<td class="number">\+2\.36, .0\.49<br><span class="small">26\.9</span></td>', section)
    assert "in 18 of 30 comparisons at equal nominal l0, and in 12 at that l0" in re.sub(r"\s+", " ", section)


def test_what_was_run_is_told(page):
    assert "SAEs21 h 30 min38 min 20 s1.502.0 GB" in page.text  # two jobs of 1.5 hours in all, on a GPU
    assert "all31 h 31 min39 min 05 s1.502.0 GB" in page.text
    assert "No record" not in page.text
    assert "run: demo" in page.text and "dict_size: 384" in page.text
    assert "921,600 tokens of 7 documents of owner/text at c0ffee; 5 held out" in page.text
    assert "cpu (x86_64)" in page.text and "2.13.0" in page.text
    assert "Versions: SAEBench revisiondef devicecpu (x86_64) python3.11 sae-bench0.4.1" in page.text


def test_training_hours_count_each_job_once(tmp_path):
    """SAEs that were trained together share one clock; one that was trained alone, before its job was regrouped or
    after, has its own, even if it shows the same time."""
    together = {"a.json": (["a", "b"], 3600), "b.json": (["b", "a"], 3600)}
    alone = {"c.json": (["c"], 3600), "d.json": (["d"], 1800)}
    step = records.read_step("SAEs", 2, [], write_clocks(tmp_path, together | alone))
    assert step.wall == 3600 + 3600 + 1800
    assert step.gpu_hours == 5


@pytest.mark.parametrize(("config", "gpus"), [(DEMO, 0), (DEMO | {"compute": DEMO["compute"] | {"device": "cuda"}}, 1)])
def test_what_was_run_is_read_from_the_files_of_every_job_and_of_every_sae(config, gpus):
    """Each step's files, by its rule's benchmark file with wildcards."""
    places = {
        "world_text": "{run}/text.tsv",
        "world_lm": "{run}/{lm}.tsv",
        "saebench_data": "{run}/data.tsv",
        "ood": "{run}/{model}/{stream}/{trainer}/{l0}/{seed}/ood.tsv",
        "saebench": "{run}/{model}/{stream}/{trainer}/{l0}/{seed}/saebench.tsv",
    }
    places |= {f"{step}_imported": f"{{run}}/{{model}}/{{sae}}/{step}.tsv" for step in ("ood", "saebench")}
    configuration = checked(config)
    jobs = training_jobs(configuration, needed=True)

    def benchmark(rule: str) -> str:
        return f"{rule}.tsv" if rule.startswith("train_") else places.get(rule, f"{{run}}/{{model}}/{rule}.tsv")

    steps = {step.words: step for step in outputs.steps(configuration, jobs, benchmark)}
    assert steps["the demo's text"].files == ("demo/text.tsv",)
    assert steps["the demo's language models"].files == ("demo/gpt-neox.tsv", "demo/gemma-2.tsv")
    assert steps["tokens"].files == ("demo/pythia-demo/tokens.tsv", "demo/gemma-demo/tokens.tsv")
    assert steps["SAEs"].files == tuple(f"train_{job.name}.tsv" for job in jobs) and len(jobs) == 9
    provenance = {f"{cell.folder}/sae/provenance.json" for cell in cells_of(config)}
    assert set(steps["SAEs"].provenance) == provenance and len(steps["SAEs"].provenance) == len(provenance) == 14
    assert len(steps["probes"].files) == len(steps["SAEBench: scores"].files) == 14 + 1  # and an imported one
    assert [steps[words].gpus for words in ("SAEs", "SAEBench: scores", "probes", "tokens")] == [gpus, gpus, 0, 0]


def test_only_saes_of_the_hub_are_fetched_and_only_published_scores_are_read():
    hub = {"dictionary_learning": {"repository": "someone/saes", "folder": "trainer_0"}}
    given = {"here": {"from": {"folder": "elsewhere"}}, "hub": {"from": hub, "published": {"path": "theirs"}}}
    saes = [{"name": name, "model": "gemma-2-2b"} | entry for name, entry in given.items()]
    steps = outputs.steps(checked(PAPER | {"tables": [], "saes": saes}), [], "{{run}}/{{model}}/{{sae}}/{}.tsv".format)
    files = {step.words: step.files for step in steps}
    assert files["imported SAEs: files"] == ("paper/gemma-2-2b/hub/fetch_sae.tsv",)
    assert files["published scores of imported SAEs"] == ("paper/gemma-2-2b/hub/published.tsv",)
    assert len(files["imported SAEs"]) == 2
    without = outputs.steps(checked(PAPER | {"tables": [], "saes": saes[:1]}), [], "{{run}}/{{sae}}/{}.tsv".format)
    assert not {"imported SAEs: files", "published scores of imported SAEs"} & {step.words for step in without}


def test_a_benchmark_file_that_is_gone_is_missed_on_the_page(tmp_path):
    of_training = Page(make_page(tmp_path / "1", lost="train_2.tsv").read_text()).text
    assert "SAEs2 (no record of 1)1 h 30 min30 min 00 s1.502.0 GB" in of_training
    assert "all3 (no record of 1)1 h 31 min30 min 45 s1.502.0 GB" in of_training
    of_probes = Page(make_page(tmp_path / "2", lost="ood.tsv").read_text()).text
    assert "probes1 (no record of 1)————" in of_probes and "No record: the benchmark file is gone" in of_probes


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        ({"name": "clean"}, "trained without masking. "),
        ({"name": "mask30", "p": 0.3}, "trained with a share p of the tokens replaced by “...” (p = 0.3). "),
        ({"name": "del30", "corruption": {"kind": "delete", "p": 0.3}}, "trained on “del30” (deleted, p = 0.3). "),
    ],
)
def test_a_run_of_one_stream_has_its_page(tmp_path, stream, words):
    config = DEMO | {"streams": [stream], "analysis": DEMO["analysis"] | {"arms": []}, "saes": []}
    config["tables"] = [table | {"streams": [stream["name"]]} for table in DEMO["tables"][:2]]
    page = Page(make_page(tmp_path, config).read_text())
    assert words in page.text
    assert "imported" not in page.ids and "#imported" not in page.links


@pytest.mark.parametrize("evals", [["core"], []])
def test_a_run_without_some_of_saebenchs_evals_and_without_tables_has_its_page(tmp_path, evals):
    judged = ("explained_variance", "ood") if evals else ("ood",)
    endpoints = {name: None for name in DEMO["analysis"]["endpoints"] if name not in judged}
    analysis = DEMO["analysis"] | {"endpoints": DEMO["analysis"]["endpoints"] | endpoints}
    config = DEMO | {"tables": [], "analysis": analysis, "saebench": DEMO["saebench"] | {"evals": evals}}
    page = Page(make_page(tmp_path, config).read_text())
    assert page.open == []
    heads = re.search(r'clean text</th>((?:<th scope="col">[^<]+</th>)+)</tr>', page.source)[1]
    assert re.findall(r">([^<]+)</th>", heads) == [*evals, "OOD"]
    scores = {link.rsplit("/", 1)[1] for link in page.links if "/scores/" in link}
    of_core = ("core", "variance", "l0") if evals else ()
    assert scores == {f"{name}.json" for name in (*of_core, "ood", "robustness", "parents")}
    assert {tag["id"] for name, tag in page.tags if name == "figure"} == {"decides", "taken_apart"}
    assert "This run has none." in page.text
    assert "Explained Variance" in page.text  # also a claim of the paper
    assert "SAEBench advises against its absorption score" not in page.text


def test_figures_and_tables_can_be_read_without_seeing_them(page):
    for tag, attributes in page.tags:
        if tag == "svg":
            assert attributes["role"] == "img" and attributes["aria-label"]
            assert attributes["aria-describedby"] in page.ids
    assert page.source.count("<caption>") == page.source.count("<table")
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1 and set(levels) == {1, 2, 3}
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_figures_follow_the_pages_colours(page):
    svgs = re.findall(r"<svg.*?</svg>", page.source, re.DOTALL)
    assert len(svgs) == len(FIGURES)
    for svg in svgs:
        assert not set(re.findall(r"#[0-9a-fA-F]{6}\b", svg)), "a colour of its own"
        assert {"ink", "paper"} & set(re.findall(r"var\(--([\w-]+)\)", svg))
    variables = set(re.findall(r"var\(--([\w-]+)\)", page.source))
    assert {"stream0", "stream1", "stream2", "stream3"} <= variables
    for variable in variables:
        assert f"--{variable}:" in page.source


def test_the_same_files_give_the_same_page(file, tmp_path):
    assert make_page(tmp_path).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("lost", ["quality", "provenance", "models", "tokens", "figures", "verdicts", "differences"])
def test_what_is_missing_stops_with_its_path(file, tmp_path, monkeypatch, lost):
    shutil.copytree(file.parents[2], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    inputs, settings = page_of(DEMO, STEPS)
    path = inputs[lost] if isinstance(inputs[lost], str) else inputs[lost][-1]
    Path(path).unlink()
    with pytest.raises(InputError, match=f"{re.escape(path)}: missing"):
        write_page(inputs, settings, "report.html")
    assert not Path("report.html").exists()


@pytest.mark.parametrize("text", ["", "s\th:m:s\n", BENCHMARK, f"{BENCHMARK}x\t-\t1\t1\t1\t1\t1\t1\t1\t1\n"])
def test_a_broken_benchmark_file_stops_with_its_path(tmp_path, text):
    (tmp_path / "b.tsv").write_text(text)
    with pytest.raises(InputError, match=r"b\.tsv: not a benchmark file"):
        records.read_step("SAEs", 0, [str(tmp_path / "b.tsv")], [])


# In a real browser.

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_a_browser = pytest.mark.skipif(BROWSER is None, reason="no browser: install the package chromium")
QUIET = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--virtual-time-budget=5000"),
]


def browse(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [BROWSER, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)


@needs_a_browser
def test_a_browser_shows_it_without_errors_and_without_the_network(file, tmp_path):
    log = tmp_path / "net.json"
    page = f"file://{file}"
    done = browse(tmp_path, "--enable-logging=stderr", f"--log-net-log={log}", "--dump-dom", page)
    assert done.stdout.count("<svg") == len(FIGURES)
    assert "CONSOLE" not in done.stderr
    asked = set(re.findall(r'"url":"(https?:[^"]*)"', log.read_text()))
    own = (".google.com/", ".googleapis.com/")  # where Chromium itself asks for the time and for updates
    assert not [url for url in asked if not any(place in url for place in own)]


@needs_a_browser
@pytest.mark.parametrize("width", [500, 1200])
def test_it_fits_a_phone_and_a_desk(file, tmp_path, width):
    """Wide tables scroll in their own frames; the page itself does not scroll sideways."""
    probe = tmp_path / "probe.html"
    script = "<script>document.body.dataset.wide = document.documentElement.scrollWidth</script></body>"
    probe.write_text(file.read_text().replace("</body>", script))
    dom = browse(tmp_path, f"--window-size={width},800", "--dump-dom", f"file://{probe}").stdout
    assert int(re.search(r'data-wide="(\d+)"', dom)[1]) <= width


@needs_a_browser
def test_it_can_be_seen_in_light_and_dark(file, tmp_path):
    from PIL import Image

    paper = {}
    for theme, arguments in {"light": [], "dark": ["--blink-settings=preferredColorScheme=0"]}.items():
        to = tmp_path / f"{theme}.png"
        browse(tmp_path, "--window-size=1200,1600", f"--screenshot={to}", *arguments, f"file://{file}")
        image = Image.open(to).convert("L")
        paper[theme] = image.getpixel((5, 5))
        assert min(image.getextrema()) < 60 and max(image.getextrema()) > 200  # something stands on it
    assert paper["light"] == 255 and paper["dark"] < 40
