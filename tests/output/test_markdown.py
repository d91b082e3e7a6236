"""Tables in Markdown."""

from cast_exp.output.markdown import markdown_table


def test_tables() -> None:
    rows = [["name", "a", "b"], ["x", "1.0", ""], ["y z", "±", "-"]]
    body = "| x | 1.0 |  |\n| y z | ± | - |\n"
    assert markdown_table(rows) == "| name | a | b |\n| --- | --- | --- |\n" + body
    assert markdown_table(rows, numbers=True) == "| name | a | b |\n| --- | ---: | ---: |\n" + body
    assert markdown_table([["only"]], numbers=True) == "| only |\n| --- |\n"
