"""Words that many people spell wrongly. English only, and only words where the wrong form is no other word.

The list is our own, of mistakes that any teacher knows; it is short on purpose, and a text without these words is
left out.
"""

from __future__ import annotations

import random
import re

from finetune_engine.evaluate.perturb.perturbation import Perturbation
from finetune_engine.evaluate.texts.capitals import in_small_letters, in_the_case_of

MISSPELLINGS: dict[str, tuple[str, ...]] = {
    "absence": ("absense",), "accept": ("acept",), "accidentally": ("accidently",),
    "accommodate": ("accomodate", "acommodate"), "accommodation": ("accomodation",), "account": ("acount", "accout"),
    "achieve": ("acheive",), "acknowledge": ("acknowlege",), "acquire": ("aquire",), "across": ("accross",),
    "actually": ("actualy",), "address": ("adress", "addres"), "affect": ("afect",), "agreement": ("agreemant", "aggreement"),
    "always": ("allways",), "amount": ("ammount",), "annual": ("anual",), "answer": ("anser", "awnser"),
    "apparent": ("apparant",), "apparently": ("apparantly",), "appearance": ("appearence",), "argument": ("arguement",),
    "assignment": ("asignment",), "available": ("availible", "avaliable"), "balance": ("ballance", "balence"),
    "basically": ("basicly",), "beautiful": ("beautifull",), "because": ("becuase", "becouse"), "before": ("befor",),
    "beginning": ("begining",), "believe": ("beleive",), "between": ("betwen",), "business": ("buisness", "busines"),
    "calendar": ("calender",), "cancel": ("cansel",), "category": ("catagory",), "certain": ("certian",),
    "clause": ("claus",), "colleague": ("collegue",), "coming": ("comming",), "commission": ("comission",),
    "committee": ("commitee",), "company": ("compnay", "compagny"), "completely": ("completly",),
    "confidential": ("confidental",),
    "conscious": ("concious",), "could": ("coud",), "country": ("contry",), "customer": ("custumer",),
    "decision": ("desicion",), "definitely": ("definately", "definitly"), "delivery": ("delivary",),
    "description": ("discription",), "different": ("diffrent",), "disappear": ("dissapear",), "disappoint": ("dissapoint",),
    "embarrass": ("embarass",), "environment": ("enviroment",), "equipment": ("equiptment",),
    "especially": ("especialy",), "exactly": ("exactley",), "example": ("exemple",), "excellent": ("excelent",),
    "exercise": ("excercise",), "existence": ("existance",), "experience": ("experiance",), "explanation": ("explaination",),
    "familiar": ("familar",), "february": ("febuary",), "finally": ("finaly",), "foreign": ("foriegn",), "forty": ("fourty",),
    "friend": ("freind",), "further": ("futher",), "government": ("goverment",), "governing": ("goverming", "govering"),
    "grammar": ("grammer",), "guarantee": ("garantee", "guarentee"), "happened": ("happend",), "height": ("heigth",),
    "immediately": ("immediatly", "imediately"), "important": ("importent", "imporant"), "independent": ("independant",),
    "information": ("infomation",), "insurance": ("insurence",), "interest": ("intrest",),
    "interrupt": ("interupt",), "knowledge": ("knowlege",), "language": ("langauge",), "liability": ("liabilty",),
    "library": ("libary",), "license": ("lisence",), "machine": ("machene",), "maintenance": ("maintainance",),
    "message": ("mesage",), "money": ("mony",), "necessary": ("neccessary", "necesary"),
    "ninety": ("ninty",), "notice": ("notise",), "occasion": ("ocassion",), "occurred": ("occured",), "people": ("poeple",),
    "perhaps": ("prehaps",), "permanent": ("permanant",), "please": ("plese",), "possible": ("posible",),
    "preferred": ("prefered",), "privilege": ("priviledge",), "probably": ("probaly", "propably"), "problem": ("probelm",),
    "professional": ("proffesional",), "question": ("qestion", "quesiton"), "really": ("realy",), "receipt": ("reciept",),
    "receive": ("recieve",), "received": ("recieved",), "recommend": ("recomend",), "referred": ("refered",),
    "remember": ("rember",), "reservation": ("reservasion",), "restaurant": ("restaraunt", "resturant"),
    "schedule": ("schedual",), "secretary": ("secratary",), "separate": ("seperate",), "should": ("shoud",),
    "similar": ("similiar",), "since": ("sinse",), "sincerely": ("sincerly",), "success": ("sucess",),
    "successful": ("succesful",), "supplier": ("suplier",), "surprise": ("suprise",), "temperature": ("temprature",),
    "terminate": ("termenate",), "termination": ("termenation",), "their": ("thier",), "they": ("thay",), "though": ("thouhg",),
    "through": ("throught",), "tomorrow": ("tommorow", "tommorrow"), "transfer": ("transfere", "tranfer"), "truly": ("truely",),
    "unfortunately": ("unfortunatly",), "until": ("untill",), "usually": ("usualy",), "vacation": ("vaccation",),
    "wednesday": ("wensday",), "weird": ("wierd",), "where": ("wher",), "which": ("wich",),
    "would": ("woud",), "writing": ("writting",), "your": ("youre",),
}  # fmt: skip
_WORD = re.compile(r"\b(" + "|".join(sorted(MISSPELLINGS, key=len, reverse=True)) + r")\b", re.IGNORECASE)


def misspell(text: str, rng: random.Random, share: float = 1.0) -> str:
    """The text with each word of the list misspelt with probability ``share``; capitals as they were."""

    def one(match: re.Match[str]) -> str:
        word = match.group()
        if rng.random() >= share:
            return word
        return in_the_case_of(word, rng.choice(MISSPELLINGS[in_small_letters(word)]))

    return _WORD.sub(one, text)


PERTURBATIONS = (
    Perturbation("misspellings", "common words", "typo_resistance", "When common words are misspelt", misspell),
)
