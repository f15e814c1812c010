#!/usr/bin/env bash
# cpe 1.3.1: a name as NVD writes it (a formatted string, its last fields '*') is equal to no name, not even to itself, and
# name_match finds it in no set, not even in one that has it. The '*' of that form is compared as a wildcard in a value, not as
# ANY. They are documented for well-formed names, and take the others without a word; append() converts those by itself.
# Seen: cpe_equal False, name_match False; True and True with CPE(name.as_wfn()).
# Matters to: who asks with it whether the parts of an SBOM are among the names of an advisory: the answer is always no.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q cpe==1.3.1
cat >match.py <<'PYTHON'
from cpe import CPE
from cpe.cpeset2_3 import CPESet2_3

name = CPE("cpe:2.3:a:nanopb_project:nanopb:0.4.9:*:*:*:*:*:*:*")
advisory = CPESet2_3()
advisory.append(name)
for asked in (name, CPE(name.as_wfn())):
    print(type(asked).__name__, CPESet2_3.cpe_equal(asked, asked), advisory.name_match(asked))
PYTHON
venv/bin/python match.py | tee out
diff out - <<<$'CPE2_3_FS False False\nCPE2_3_WFN True True'
