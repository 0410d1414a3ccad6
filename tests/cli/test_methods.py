import json

from hyperfuse.methods import list_methods


def test_every_method_is_listed_with_its_settings_and_paper(run):
    code, out, err = run("methods")
    assert (code, err) == (0, "")
    for method in list_methods():
        assert f"{method.name}: {method.reference}" in out.splitlines()
        assert method.summary in out
        row = next(line for line in out.splitlines() if line.split()[:1] == [method.name])
        assert ("--budget" in row) is method.capabilities.budget
        for name in method.settings.model_fields:
            assert f"--set {name}=" in out


def test_json_lists_defaults_that_set_takes_back(run):
    code, out, _ = run("methods", "--json")
    assert code == 0
    found = {entry["name"]: entry for entry in json.loads(out)}
    assert sorted(found) == [method.name for method in list_methods()]
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
