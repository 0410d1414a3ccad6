import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hyperfuse.errors import InputError
from hyperfuse.io.products import members as members_module
from hyperfuse.io.products.members import Members
from hyperfuse.io.products.xml import Metadata

LAUGHS = """<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><lolz>&c;</lolz>"""
FILE = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/hostname">]><x>&f;</x>'


def parse(folder, text, encoding="utf-8"):
    (folder / "M.xml").write_bytes(text.encode(encoding))
    return Metadata(Members(folder, ["M.xml"]), "M.xml")


@pytest.mark.parametrize("text", [LAUGHS, FILE, "<!DOCTYPE html><html/>"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_document_types_are_refused(tmp_path, text, encoding):
    if encoding == "utf-16":
        text = text.replace('version="1.0"', 'version="1.0" encoding="utf-16"')
    with pytest.raises(InputError, match=r"M\.xml declares a document type"):
        parse(tmp_path, text, encoding)


def test_larger_than_any_metadata(tmp_path, monkeypatch):
    monkeypatch.setattr(members_module, "LARGEST_TEXT", 1 << 20)
    with pytest.raises(InputError, match=r"M\.xml has more than 1 MB; that is no metadata file"):
        parse(tmp_path, "<x>" + " " * (1 << 20) + "</x>")


def test_elements_of_any_namespace(tmp_path):
    text = '<a:r xmlns:a="urn:a"><a:g><LEVEL> 2A </LEVEL></a:g><V>1.5</V><V/></a:r>'
    found = parse(tmp_path, text)
    assert (found.find("NONE", "LEVEL"), found.find("NONE")) == ("2A", None)
    assert len(found.elements("{*}g/{*}LEVEL")) == 1
    assert found.number(found.text("V"), "V") == 1.5
    with pytest.raises(InputError, match=r"M\.xml has no NONE; it is cut off"):
        found.text("NONE")


@pytest.mark.parametrize("text", [None, "", "x", "nan", "inf", "1,5"])
def test_what_is_no_number(tmp_path, text):
    with pytest.raises(InputError, match=r"M\.xml: GAIN is .*, not a number"):
        parse(tmp_path, "<x/>").number(text, "GAIN")


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.text("<>/&;!x='\"[] ", max_size=40).map(str.encode))
def test_any_bytes_are_xml_or_refused(tmp_path, raw):
    (tmp_path / "M.xml").write_bytes(raw)
    message = "M.xml is one"
    try:
        Metadata(Members(tmp_path, ["M.xml"]), "M.xml")
    except InputError as error:
        message = str(error)
    assert message.startswith("M.xml ")
    assert "\n" not in message
