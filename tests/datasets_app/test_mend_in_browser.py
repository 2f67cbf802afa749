"""Mending, settling, cleaning and deciding in a real browser: by keyboard, on desktop and phone, light and dark."""

from __future__ import annotations

import json

import pytest

from datasets_app.models import Example
from tests.browser import looks_right_everywhere
from tests.datasets_app.conftest import clause_lines

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def rows_of_all_kinds(dataset_from):
    """Thirty good rows, then one of everything that these pages are about."""
    rows = clause_lines(30)
    lines = [json.dumps(row) for row in rows]
    lines += [
        json.dumps({"text": f"A clause that nobody has labelled yet, number {n}.", "label": ""}) for n in (1, 2, 3)
    ]
    lines += ['{"text": "<b>half</b> a line, "label": "Pay', json.dumps(rows[4])]
    end = "Either side may end the lease with a month of notice, and nothing else is <i>needed</i>."
    lines += [json.dumps({"text": end, "label": name}) for name in ("Termination", "Payment")]
    mail = "Write to anna.berg@example.org about the deed &amp; the keys, not to bert@example.org.  \nAt once."
    lines += [json.dumps({"text": mail, "label": "Payment"})]
    return dataset_from("all kinds.jsonl", "\n".join(lines).encode())


@pytest.fixture
def page(browse):
    return browse()


@pytest.fixture
def visit(live_server, page, project, rows_of_all_kinds):
    """``visit("mend")``: that page of the dataset, as a trainer sees it."""

    def go(name: str):
        page.goto(f"{live_server.url}/p/{project.slug}/data/{rows_of_all_kinds.pk}/{name}")
        return page

    return go


def row(dataset, number):
    return Example.objects.get(dataset=dataset, import_attempt=dataset.import_attempt, row=number)


def test_rows_are_mended_with_the_keyboard_alone(visit, rows_of_all_kinds):
    page = visit("mend")
    looks_right_everywhere(page, "data-mend")
    page.get_by_label("Label of row 31").focus()
    page.keyboard.type("Payment")
    page.keyboard.press("Enter")
    page.locator("#row-31.mend-done").wait_for()
    page.locator('[aria-label="Label of row 32"]:focus').wait_for()
    assert row(rows_of_all_kinds, 31).edited_label == "Payment"

    page.keyboard.type("half a thought")
    page.keyboard.press("Escape")
    assert page.get_by_label("Label of row 32").input_value() == ""
    page.keyboard.press("Enter")
    page.get_by_text("Not yet:").wait_for()  # and the focus stays where the mistake is
    page.locator('[aria-label="Label of row 32"]:focus').wait_for()
    page.complaints[:] = [line for line in page.complaints if "422" not in line]
    looks_right_everywhere(page, "data-mend-refused")

    page.get_by_label("Input of row 32").focus()
    page.keyboard.press("Control+End")
    page.keyboard.press("ArrowDown")
    page.locator('[aria-label="Input of row 33"]:focus').wait_for()
    page.get_by_role("button", name="Undo row 31").click()
    page.locator("#row-31:not(.mend-done)").wait_for()
    assert row(rows_of_all_kinds, 31).status == "rejected"


def test_cells_of_a_spreadsheet_are_pasted_and_saved_together(visit, rows_of_all_kinds):
    page = visit("mend")
    page.get_by_label("Input of row 32").evaluate(
        """(cell) => {
          const data = new DataTransfer();
          data.setData("text/plain", 'Who pays the rent, and when?\\tPayment\\n"Who may end\\nthe lease?"\\tTermination\\n');
          cell.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
        }"""
    )
    assert page.get_by_label("Input of row 33").input_value() == "Who may end\nthe lease?"
    page.get_by_role("button", name="Save all changed rows").click()
    page.locator("#row-32.mend-done").wait_for()
    page.locator("#row-33.mend-done").wait_for()
    assert row(rows_of_all_kinds, 33).edited_messages[0]["content"] == "Who may end\nthe lease?"
    assert page.locator("#rows-left").inner_text() == str(rows_of_all_kinds.rejected - 2)


def test_a_contradiction_is_settled_by_one_key_and_taken_back_by_another(visit, rows_of_all_kinds):
    page = visit("duplicates")
    looks_right_everywhere(page, "data-contradictions")
    page.keyboard.press("1")
    page.get_by_text("Settled", exact=True).wait_for()
    assert [row(rows_of_all_kinds, n).status for n in (36, 37)] == ["accepted", "rejected"]
    looks_right_everywhere(page, "data-contradictions-settled")
    page.keyboard.press("u")
    page.get_by_text("Waits for you").wait_for()
    assert row(rows_of_all_kinds, 36).status == "needs_review"
    for kind in ("near", "exact", "labels"):
        page = visit(f"duplicates?kind={kind}")
        looks_right_everywhere(page, f"duplicates-{kind}")


def test_a_rule_shows_what_it_does_while_it_is_typed(visit):
    page = visit("cleaning")
    looks_right_everywhere(page, "data-cleaning")
    page.get_by_label("Rule 1: find").fill("deed")
    page.get_by_label("Rule 1: put in its place").fill("contract")
    page.locator("#preview ins", has_text="contract").wait_for()
    looks_right_everywhere(page, "data-cleaning-with-a-rule")
    page.get_by_label("Rule 1: put in its place").press("Enter")
    page.wait_for_load_state()
    assert page.get_by_label("Rule 1: find").input_value() == "deed"
    assert page.get_by_text("being checked again").count() == 0, "Enter only shows what changes"
    page.get_by_label("Rule 1 is a pattern").check()
    page.get_by_label("Rule 1: find").fill("(")
    page.locator("#preview", has_text="Rule 1 cannot be used").wait_for()
    page.complaints[:] = [line for line in page.complaints if "422" not in line]
    looks_right_everywhere(page, "data-cleaning-refused")
    page.get_by_label("Rule 1: find").fill("deed")
    page.get_by_role("button", name="Save only").click()
    page.get_by_text("Saved. It applies").wait_for()
    assert page.get_by_label("Rule 1: find").input_value() == "deed"


def test_personal_data_is_seen_and_decided(visit):
    page = visit("personal")
    looks_right_everywhere(page, "data-personal")
    assert page.locator("mark", has_text="anna.berg@example.org").is_visible()
    page.get_by_label("E-mail addresses: what happens to it").select_option("reject")
    page.get_by_role("button", name="Save the decisions").click()
    page.get_by_text("this row is left out of snapshots").first.wait_for()
    looks_right_everywhere(page, "data-personal-decided")
