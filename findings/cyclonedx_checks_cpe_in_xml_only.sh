#!/usr/bin/env bash
# cyclonedx-python-lib 11.5.0 takes any text as the CPE of a component, and what the official schemas of CycloneDX 1.6 say
# of that depends on the format: the one for XML has a pattern for it, the one for JSON takes any text.
# Seen: one and the same bill of materials with "cpe:2.3:a:espressif:esp-idf:5.3.1" (the fields behind the version left out)
# is valid as JSON and not valid as XML; with all eleven fields it is valid as both.
# Matters to: who validates JSON in CI and trusts that vulnerability databases, or a customer's XML tools, can read its names.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q "cyclonedx-python-lib[validation]==11.5.0"
cat >cpe.py <<'PYTHON'
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation import make_schemabased_validator

def valid(cpe, form):
    bom = Bom(components=[Component(name="esp-idf", version="5.3.1", cpe=cpe)])
    text = make_outputter(bom, form, SchemaVersion.V1_6).output_as_string()
    return make_schemabased_validator(form, SchemaVersion.V1_6).validate_str(text) is None

short = "cpe:2.3:a:espressif:esp-idf:5.3.1"
for cpe in (short, short + ":*" * 7):
    print(cpe, *(f"{form.name}={valid(cpe, form)}" for form in (OutputFormat.JSON, OutputFormat.XML)))
PYTHON
out="$(venv/bin/python cpe.py)"
echo "$out"
grep -q '5.3.1 JSON=True XML=False$' <<<"$out"
grep -q '5.3.1:\*:\*:\*:\*:\*:\*:\* JSON=True XML=True$' <<<"$out"
