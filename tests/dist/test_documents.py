#!/usr/bin/env python3
"""Man pages, completions and the list of log events say what the programs do."""
import gzip
import re
import shutil
import subprocess
import unittest

import dist

MADE = dist.BUILD / "tools" / "dist"
PAGES = {"spreaderd.8": "spreaderd", "spreader.json.5": "spreaderd", "spreaderctl.1": "spreaderctl", "spreader-queue.1": "spreader-queue",
         "spreader-bench.1": "spreader-bench"}


def page(name):
    return gzip.decompress((MADE / (name + ".gz")).read_bytes()).decode()


def need(tool):
    return unittest.skipUnless(shutil.which(tool), tool + " is not installed")


def run(*argv, **more):
    return subprocess.run(argv, capture_output=True, text=True, **more)


class ManPages(unittest.TestCase):
    def test_every_option_is_there(self):
        for name, program in PAGES.items():
            text = page(name).replace("\\-", "-").replace("\\(aq", "'")
            for option, (_, _, _, _, notes, help_text) in dist.options_of(program).items():
                if name == "spreader.json.5":
                    found = f'\\fB"{option}"\\fR' in text
                    self.assertEqual(found, "not-in-file" not in notes, (name, option))
                else:
                    self.assertIn(f"\\fB--{option}\\fR", text, name)
                    self.assertIn(help_text.replace("\\", "\\e"), text, name)
            self.assertNotRegex(text, r"(?m)^@", name)

    def test_every_verb_is_there(self):
        for program in ("spreaderctl", "spreader-queue"):
            text = page(program + ".1")
            for line in run(dist.BUILD / program, "--help-table").stdout.splitlines():
                if line.startswith("verb\t"):
                    self.assertIn(f"\\fB{line.split(chr(9))[1]}\\fR", text)

    @need("mandoc")
    def test_mandoc_has_no_complaint(self):
        for name in PAGES:
            self.assertEqual(run("mandoc", "-T", "lint", "-W", "warning", input=page(name)).stdout, "", name)


class Completions(unittest.TestCase):
    def complete(self, program, *words):
        """What bash would offer for the last word."""
        script = f'source {MADE / program}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _{program.replace("-", "_")}; printf "%s\\n" "${{COMPREPLY[@]}}"'
        result = run("bash", "-c", script, "bash", program, *words, cwd=dist.TOP)
        self.assertEqual(result.stderr, "")
        return set(result.stdout.split())

    def test_bash(self):
        self.assertEqual(self.complete("spreaderd", "--intake-format", ""), {"auto", "envelope", "bare"})
        self.assertEqual(self.complete("spreaderd", "--intake-format", "=", "b"), {"bare"})
        self.assertEqual(self.complete("spreaderd", "--lease-m"), {"--lease-min", "--lease-max"})
        self.assertEqual(self.complete("spreaderd", "--dispatchers", ""), set())
        self.assertIn("README.md", self.complete("spreaderd", "--config", "READ"))
        self.assertIn("--no-allow-catch-all", self.complete("spreaderd", "--no-a"))
        self.assertEqual(self.complete("spreaderctl", "sub"), {"subscribe"})
        self.assertEqual(self.complete("spreader-queue", "d"), {"dead"})
        for program in dist.PROGRAMS:
            offered = self.complete(program, "--")
            for name, (_, _, _, _, notes, _) in dist.options_of(program).items():
                self.assertEqual("--" + name in offered, "later" not in notes, name)

    @need("zsh")
    def test_zsh_reads_them(self):
        for program in dist.PROGRAMS:
            self.assertEqual(run("zsh", "-n", MADE / ("_" + program)).stderr, "")

    @need("fish")
    def test_fish(self):
        def complete(line):
            program = line.split()[0]
            out = run("fish", "--no-config", "-c", f"source {MADE / (program + '.fish')}; complete -C '{line}'")
            self.assertEqual(out.stderr, "")
            return {offer.split("\t")[0] for offer in out.stdout.splitlines()}

        self.assertEqual(complete("spreaderd --intake-format "), {"auto", "envelope", "bare"})
        self.assertEqual(complete("spreaderctl sub"), {"subscribe"})
        self.assertEqual(complete("spreaderd --lease-m"), {"--lease-min", "--lease-max"})


class Events(unittest.TestCase):
    def test_the_table_is_what_the_sources_log(self):
        logged = set()
        for path in [*(dist.TOP / "src").rglob("*.c"), *(dist.TOP / "tools").glob("*.c")]:
            for level, name in re.findall(r'\bspr_(error|warn|info)\(\s*"([A-Z0-9-]+)"', path.read_text()):
                logged.add((name, level))
        rows = [line.split("\t") for line in (dist.DIST / "events.tsv").read_text().splitlines() if line[0] != "#"]
        listed = [(name, level) for name, level, _ in rows]
        self.assertEqual(logged - set(listed), set(), "add what these mean to tools/dist/events.tsv")
        self.assertEqual(set(listed) - logged, set(), "nothing logs these; take them out of tools/dist/events.tsv")
        self.assertEqual(listed, sorted(listed))


if __name__ == "__main__":
    dist.main()
