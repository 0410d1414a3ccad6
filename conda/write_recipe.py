"""Write build/conda/recipe.yaml: the recipe with the project's version and the checksum of the source distribution.

It is rendered by py-rattler-build (extra `release`), which refuses what conda-forge's builder would not understand.
"""

import hashlib
import re
import tomllib
from pathlib import Path

from rattler_build import Stage0Recipe

ROOT = Path(__file__).parents[1]
version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
sdist = ROOT / "dist" / f"hyperfuse-{version}.tar.gz"
if not sdist.is_file():
    raise SystemExit(f"{sdist}: does not exist; make release-check builds it")
# The comment at its top is of the template.
text = (ROOT / "conda" / "recipe.yaml").read_text("utf-8").split("\n", 2)[2]
for key, value in (("version", version), ("sha256", hashlib.sha256(sdist.read_bytes()).hexdigest())):
    text, count = re.subn(rf'^  {key}: ".*"$', f'  {key}: "{value}"', text, flags=re.MULTILINE)
    assert count == 1, key
target = ROOT / "build" / "conda" / "recipe.yaml"
target.parent.mkdir(parents=True, exist_ok=True)
target.write_text(text, "utf-8")
(rendered,) = (variant.recipe.to_dict() for variant in Stage0Recipe.from_file(target).render())
package, source, run = rendered["package"], rendered["source"][0], rendered["requirements"]["run"]
assert package["version"] in source["url"]
print(f"conda: {package['name']} {package['version']} rendered, {len(run)} run requirements, {source['url']}")
