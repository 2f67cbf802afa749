"""Forms: every field has its label, help and error where screen readers find them."""

from __future__ import annotations

import re

import pytest
from django import forms

from finetune_engine.errors import Place, UserError
from web_kit.forms import StyledForm


class JobForm(StyledForm):
    terms = {"epochs": "epoch", "name": "no_such_word"}

    name = forms.CharField(label="Name", help_text="You will find <it> again.")
    epochs = forms.IntegerField(label="How many passes", max_value=20, required=False)
    start = forms.ChoiceField(label="Start", choices=[("now", "Now"), ("later", "Later")], widget=forms.RadioSelect)
    keep = forms.BooleanField(label="Keep", required=False)
    secret = forms.CharField(widget=forms.HiddenInput)


def test_label_help_and_field_belong_together():
    html = str(JobForm())
    assert '<label class="field-label" for="id_name">Name</label>' in html
    assert 'id="id_name_helptext">You will find &lt;it&gt; again.' in html
    assert re.search(r'<input type="text" name="name"[^>]*aria-describedby="id_name_helptext"', html)


def test_the_word_of_the_field_stands_beside_the_plain_one_and_unknown_words_do_not_break_the_page():
    html = str(JobForm())
    assert ">epoch</button>" in html
    assert "One pass through all training examples." in html
    assert "no_such_word" not in html


def test_a_group_of_choices_is_a_fieldset_with_a_legend():
    html = str(JobForm())
    assert re.search(r"<fieldset[^>]*>\s*<legend>Start</legend>", html)


def test_errors_are_tied_to_their_field_and_listed_above():
    html = str(JobForm({"epochs": "40", "start": "now", "secret": "s"}))
    assert "2 things need your attention." in html
    assert 'href="#id_epochs"' in html
    assert re.search(r'<input type="number" name="epochs"[^>]*aria-invalid="true"', html)
    described = re.search(r'name="epochs"[^>]*aria-describedby="([^"]+)"', html)
    assert described is not None
    assert 'id="id_epochs_error"' in html
    assert "id_epochs_error" in described[1].split()


def test_the_error_of_a_hidden_field_is_not_swallowed():
    html = str(JobForm({"name": "a", "start": "now"}))
    assert "Hidden field" in html or "This field is required." in html


def test_an_error_of_an_operation_stands_beside_the_field_it_names():
    form = JobForm({"name": "a", "start": "now", "secret": "s"})
    form.add_user_error(UserError("taken", "This name is <taken>.", "name", place=Place(fix="Choose another.")))
    assert form.errors["name"] == ["This name is <taken>. Choose another."]
    assert "This name is &lt;taken&gt;. Choose another." in str(form)


def test_an_error_about_no_field_of_ours_stands_above():
    form = JobForm({"name": "a", "start": "now", "secret": "s"})
    form.add_user_error(UserError("full", "The disk is full.", "disk"))
    assert form.non_field_errors() == ["The disk is full."]
    assert "The disk is full." in str(form)


def test_a_form_that_was_not_sent_takes_no_error():
    with pytest.raises(ValueError, match="submitted"):
        JobForm().add_user_error(UserError("x", "X."))
