"""Texts of sae-probes by kind: the labels that stand in for those of SAEBench's data sets.

A kind is a list of (text, the prompt that it is from).
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cache

import pandas as pd

from ..text.sae_probes_data import data_folder
from .text import LONGEST

Texts = list[tuple[str, str]]

# The file in which target 1 marks texts that end with the name of such a person.
OCCUPATIONS = {
    "journalist": "59_wikidata_occupation_isjournalist",
    "athlete": "60_wikidata_occupation_isathlete",
    "actor": "61_wikidata_occupation_isactor",
    "politician": "62_wikidata_occupation_ispolitician",
    "singer": "63_wikidata_occupation_issinger",
    "researcher": "64_wikidata_occupation_isresearcher",
}
SEXES = ("male", "female")
SEX_OF_TEXTS, SEX_OF_NAMES = "56_wikidatasex_or_gender", "5_hist_fig_ismale"  # of the second, only the sexes of names
PERSON = (30, 130)  # characters up to the end of the name; SAEBench cuts texts, in the demo after 64 tokens

# 97_news_class holds rows of ag_news under names of its own: its "Entertainment" is science and technology.
TOPICS = {
    "world": ("161_agnews_0", "1"),
    "sports": ("162_agnews_1", "1"),
    "business": ("163_agnews_2", "1"),
    "science and technology": ("97_news_class", "Entertainment"),
}

# Three languages have files; in these files' other halves, Java and PHP are recognised by what only they contain.
CODE_FILES = {"C": "158_code_C", "Python": "159_code_Python", "HTML": "160_code_HTML"}
OTHER_CODE = (*CODE_FILES.values(), TOPICS["world"][0])
JAVA = re.compile(r"^import (?:static )?(?:java|javax|org|com|net|android)\.[\w.*]+;\r?$", re.MULTILINE)
PHP = re.compile(r"\$this->|\$_(?:GET|POST|SERVER|SESSION)\b|\bfunction \w+\((?:array )?&?\$")
PAGE = re.compile(r"<!doctype|<html|<head|<meta|<body|<div", re.IGNORECASE)  # could be labelled PHP or HTML
SHORTEST_CODE = 535  # characters: SAEBench passes over shorter ones (50 + 128 tokens of 3 characters)

FOREIGN = (
    *(*OTHER_CODE, SEX_OF_TEXTS, "57_wikidatais_alive", "58_wikidatapolitical_party", "111_yelp_data"),
    *OCCUPATIONS.values(),
)
FREQUENT_WORDS = {  # also of Italian and Romanian, so that these are not taken for another
    "English": "the and of to that was for with his this is are be by it from not you which have they",
    "French": "le la les des est une dans pour que qui avec sur au par ce il pas vous nous sont cette du et aux ou",
    "Spanish": "el los las que una por con para del se su como más pero este está lo son al sus y en un es de la",
    "Portuguese": "que não uma os do da em para com por mais dos como ao das o a um na no foi ser pela é você",
    "Italian": "il che di della per una sono non con del è dei gli alla nel e la le un in da al",
    "Romanian": "și în la pe cu din care este pentru sau nu se de un o mai",
}
FREQUENT = {language: frozenset(words.split()) for language, words in FREQUENT_WORDS.items()}
LANGUAGES = ("English", "French", "Spanish", "Portuguese", "Chinese")
SENTENCE = re.compile(r"(?<=[.!?;:。])\s*|\n+|\\n|<[^>]*>")
SHORTEST_SENTENCE = {"Chinese": 15, "other": 30}  # characters

ARTICLES = "100_news_fake"  # from the web, of both its labels


@cache
def prompts(source: str, *targets: str) -> tuple[str, ...]:
    """The distinct prompts of one file, in its order; with `targets`, of these labels. All columns as text."""
    rows = pd.read_csv(data_folder() / "cleaned_data" / f"{source}.csv.zst", dtype=str, keep_default_na=False)
    if targets:
        rows = rows[rows["target"].isin(targets)]
    return tuple(rows["prompt"].drop_duplicates())


def people() -> dict[tuple[str, str], Texts]:
    """By occupation and sex of the person whose name ends the text. Left out are texts to which two files give an
    occupation, and those of people whose sex is not known."""
    occupations: dict[str, set[str]] = defaultdict(set)
    for occupation, source in OCCUPATIONS.items():
        for prompt in prompts(source, "1"):
            occupations[prompt].add(occupation)
    texts: dict[tuple[str, str], Texts] = {(occupation, sex): [] for occupation in OCCUPATIONS for sex in SEXES}
    sex_of = sexes()
    for prompt, found in occupations.items():
        name, text = name_at_end(prompt), ending(prompt)
        sex = name and (sex_of.get(name) or sex_of.get(name[:1]))
        if sex and len(found) == 1 and len(text) >= PERSON[0]:
            texts[found.pop(), sex].append((text, prompt))
    return texts


def sexes() -> dict[tuple[str, ...], str]:
    """By full name, if all labelled texts that end with it agree; by first name, if at least two people agree."""
    full: dict[tuple[str, str], set[str]] = defaultdict(set)
    first: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for sex in SEXES:
        for prompt in prompts(SEX_OF_TEXTS, sex):
            if name := name_at_end(prompt):
                full[name].add(sex)
    for name, found in full.items():
        first[name[:1]] += found
    for sex, target in (("male", "1"), ("female", "0")):
        for prompt in prompts(SEX_OF_NAMES, target):
            if len(words := prompt.split()) > 1:
                first[(words[0],)].append(sex)
    known = {name: found[0] for name, found in first.items() if len(found) > 1 and len(set(found)) == 1}
    return known | {name: next(iter(found)) for name, found in full.items() if len(found) == 1}


def name_at_end(prompt: str) -> tuple[str, str] | None:
    words = tuple(re.sub(r"^\W+|\W+$", "", word) for word in prompt.split()[-2:])
    return words if len(words) == 2 and all(len(word) > 1 and word[0].isupper() for word in words) else None


def ending(prompt: str) -> str:
    """The last characters, from the start of a word."""
    prompt, longest = prompt.strip(), PERSON[1]
    return prompt if len(prompt) <= longest else prompt[-longest:].partition(" ")[2]


def reviews() -> dict[tuple[str, str], Texts]:
    """By kind and sign. Phrases that are a part of one of the sentences are left out: both come from film reviews."""
    sentences = "\n".join(prompts("113_movie_sent"))
    texts: dict[tuple[str, str], Texts] = {}
    for sign, one, top in (("negative", "0", "0"), ("positive", "1", "4")):
        moods = ("happiness",) if sign == "positive" else ("sadness", "worry")
        phrases = [text for text in prompts("92_glue_sst2", one) if text.strip() not in sentences]
        texts["Yelp review", sign] = [(text.replace("\\n", "\n"), text) for text in prompts("111_yelp_data", top)]
        texts["Amazon review", sign] = whole(prompts("157_amazon_5star", one))
        texts["sentence of a film review", sign] = whole(prompts("113_movie_sent", one))
        texts["phrase of a film review", sign] = whole(phrases)
        texts["tweet", sign] = whole(prompts("102_twt_emotion", *moods))
    return texts


def whole(texts: Iterable[str]) -> Texts:
    return [(text, text) for text in texts]


def news() -> dict[str, Texts]:
    by_topic = {topic: [(text.strip(), text) for text in prompts(*file)] for topic, file in TOPICS.items()}
    topics = defaultdict(set)
    for topic, texts in by_topic.items():
        for text, _ in texts:
            topics[text].add(topic)
    return {topic: [pair for pair in texts if len(topics[pair[0]]) == 1] for topic, texts in by_topic.items()}


def code() -> dict[str, Texts]:
    other = [pair for file in OTHER_CODE for pair in long_enough(file, "0") if not PAGE.search(pair[0])]
    return {language: long_enough(file, "1") for language, file in CODE_FILES.items()} | {
        "Java": [pair for pair in other if JAVA.search(pair[0]) and not PHP.search(pair[0])],
        "PHP": [pair for pair in other if PHP.search(pair[0]) and not JAVA.search(pair[0])],
    }


def long_enough(file: str, target: str) -> Texts:
    return [(text[:LONGEST], text) for text in prompts(file, target) if len(text) >= SHORTEST_CODE]


def sentences() -> dict[str, Texts]:
    """By language."""
    found: dict[str, Texts] = {language: [] for language in LANGUAGES}
    for source in FOREIGN:
        for prompt in prompts(source):
            if prompt.isascii() and source != SEX_OF_TEXTS:
                continue  # the other four languages rarely lack accents, and one source of English is enough
            for part in SENTENCE.split(prompt):
                sentence = part.strip(" \t\r*#/-")
                if language := language_of(sentence):
                    found[language].append((sentence, prompt))
    return found


def language_of(sentence: str) -> str | None:
    """By its frequent words: a quarter of all words, and well more than any other language's; Chinese by characters."""
    length = len(sentence)
    if sum("\u4e00" <= character <= "\u9fff" for character in sentence) > 0.6 * length:
        return "Chinese" if length >= SHORTEST_SENTENCE["Chinese"] else None
    if length < SHORTEST_SENTENCE["other"] or sum(c.isalpha() or c == " " for c in sentence) < 0.85 * length:
        return None
    words = sentence.lower().replace("'", " ").split()
    shares = sorted((sum(word in known for word in words) / len(words), name) for name, known in FREQUENT.items())
    (second, _), (best, language) = shares[-2:]
    return language if language in LANGUAGES and best >= 0.25 and best - second >= 0.1 else None


def articles() -> Texts:
    return whole(prompts(ARTICLES))
