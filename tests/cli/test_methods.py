import json

from hyperfuse.errors import InputError
from hyperfuse.methods import get_method, list_methods
from hyperfuse.networks import list_networks, network_class


def test_every_method_is_listed_with_its_settings_and_paper(run):
    code, out, err = run("methods")
    assert (code, err) == (0, "")
    for method in list_methods():
        assert f"{method.name}: {method.reference}" in out.splitlines()
        assert method.summary in out
        row = next(line for line in out.splitlines() if line.split()[:1] == [method.name])
        assert ("--budget" in row) is method.capabilities.budget
        assert str(method.year) in row
        assert ("whole ratios" in row) is method.capabilities.whole_ratios
        assert ("SRF" in row.split("--")[0].replace(method.summary, "")) is method.capabilities.needs_srf
        for name in method.settings.model_fields:
            assert f"--set {name}=" in out


def test_json_lists_defaults_that_set_takes_back(run):
    code, out, _ = run("methods", "--json")
    assert code == 0
    form = json.loads(out)
    found = {entry["name"]: entry for entry in form["methods"] + form["networks"]}
    networks = {name: entry for name, entry in found.items() if entry["kind"] == "trained network"}
    assert sorted(found.keys() - networks.keys()) == [method.name for method in list_methods()]
    assert networks.keys() == set(list_networks()) - {"feinfn"}
    for name, entry in networks.items():
        assert entry["year"] == network_class(name).year
        assert entry["needs"].startswith("weights; ")
        assert entry["cost"] in ("seconds", "minutes")
        assert entry["reference"] == network_class(name).reference
        assert all(setting["description"] for setting in entry["settings"].values())
    for method in list_methods():
        entry = found[method.name]
        assert entry["needs_srf"] is method.capabilities.needs_srf
        assert entry["cost"] == method.cost
        assert entry["capabilities"]["uncertainty"] is method.capabilities.uncertainty
        assert entry["settings"].keys() == method.settings.model_fields.keys()
        from hyperfuse.cli.options import parse_settings

        words = [f"{name}={setting['shown']}" for name, setting in entry["settings"].items()]
        assert method.configure(**parse_settings(words)) == method.configure()
        assert all(setting["description"] for setting in entry["settings"].values())


def test_networks_follow_with_what_they_need(run):
    code, out, _ = run("methods")
    assert code == 0
    rows = {line.split()[0]: line for line in out.splitlines() if "weights; " in line}
    assert rows.keys() == set(list_networks()) - {"feinfn"}
    assert "ratio 4 or 8" in rows["bdt"]
    assert "CAVE x4" in rows["psrt"]
    for name in rows:
        assert f"{name}: {network_class(name).reference}" in out.splitlines()


def test_json_states_all_that_a_form_asks(run):
    from hyperfuse import __version__, list_srfs
    from hyperfuse.methods import DEFAULT_METHOD

    _, out, _ = run("methods", "--json")
    form = json.loads(out)
    assert (form["version"], form["default"]) == (__version__, DEFAULT_METHOD)
    assert form["srfs"] == list_srfs()
    assert "mtf" in form["presets"]
    found = {entry["name"]: entry for entry in form["methods"]}
    assert found["cnmf"]["inputs"] == {
        "hsi": "required",
        "msi": "required",
        "srf": "estimated",
        "weights": "unused",
    }
    assert found["feinfn"]["inputs"]["weights"] == "optional"
    assert found["feinfn"]["options"] == ["uncertainty", "effort", "budget", "weights"]
    assert {network["inputs"]["weights"] for network in form["networks"]} == {"required"}
    effort = found["feinfn"]["settings"]["effort"]
    assert (effort["type"], effort["choices"], effort["nullable"]) == ("string", ["fast", "normal", "best"], False)


def test_ranges_are_those_that_a_method_accepts(run):
    """Both sides of every limit that JSON states are tried."""
    _, out, _ = run("methods", "--json")
    types = {"integer": int, "number": float, "string": str, "boolean": bool}
    tried = 0
    for entry in json.loads(out)["methods"]:
        method = get_method(entry["name"])

        def accepts(name, value, method=method):
            try:
                return getattr(method.configure(**{name: value}), name) == value
            except InputError:
                return False

        for name, setting in entry["settings"].items():
            kind = types[setting["type"]]
            assert setting["default"] is None or isinstance(setting["default"], (int, kind))
            assert accepts(name, None) is setting["nullable"]
            assert not accepts(name, "no such value") or kind is str
            for choice in setting.get("choices", ()):
                assert accepts(name, choice)
            assert "choices" not in setting or not accepts(name, "no such value")
            step = 1 if kind is int else 1e-9
            for key, inside, outside in (
                ("minimum", 0, -step),
                ("maximum", 0, step * abs(setting.get("maximum", 1))),
                ("above", step, 0),
                ("below", -step, 0),
            ):
                if key in setting:
                    assert accepts(name, kind(setting[key] + inside)), (method.name, name, key)
                    assert not accepts(name, kind(setting[key] + outside)), (method.name, name, key)
                    tried += 1
    assert tried > 60
