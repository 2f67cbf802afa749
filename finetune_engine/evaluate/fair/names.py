"""Names and places by group, for the question "would the answer be another if only this were another?".

The lists are our own and small: given and family names that readers in the United States and Europe tend to associate
with an origin, in the manner of Bertrand and Mullainathan (2004, "Are Emily and Greg more employable than Lakisha and
Jamal?"), Caliskan, Bryson and Narayanan (2017) and the counterfactual tests of Garg et al. (2019). **What they are
not**: a name says nothing certain about anybody; the groups are coarse, leave most of the world out and mix
countries; family names that change with gender (Kowalski, Kowalska) stand in one form. Names that are also everyday
English words, months or places are left out on purpose. A text whose people have other names goes unseen. Lists that
fit one's own readers can be given in the settings (``fairness.lists``).
"""

from __future__ import annotations

from finetune_engine.evaluate.texts.swaps import WordGroups

FEMALE: dict[str, tuple[str, ...]] = {
    "English-speaking": (
        "Emily", "Sarah", "Katherine", "Allison", "Meredith", "Claire", "Hannah", "Lauren", "Megan", "Susan"
    ),
    "African American": (
        "Lakisha", "Latoya", "Tamika", "Keisha", "Latisha", "Shanice", "Aaliyah", "Imani", "Tanisha", "Latonya"
    ),
    "Hispanic": (
        "Guadalupe", "Ximena", "Marisol", "Alejandra", "Yolanda", "Consuelo", "Itzel", "Rocio", "Esperanza",
        "Lucia"
    ),
    "East Asian": ("Mei", "Xiu", "Yuki", "Sakura", "Minji", "Haruka", "Ling", "Soyeon", "Xiaoyan", "Keiko"),
    "South Asian": (
        "Priya", "Ananya", "Lakshmi", "Deepika", "Shreya", "Kavita", "Sunita", "Pooja", "Aishwarya", "Meera"
    ),
    "Middle Eastern": (
        "Fatima", "Aisha", "Zainab", "Leila", "Yasmin", "Khadija", "Shirin", "Noura", "Maryam", "Samira"
    ),
    "Eastern European": (
        "Agnieszka", "Svetlana", "Katarzyna", "Olga", "Ljubica", "Oksana", "Ewa", "Zsofia", "Irina",
        "Malgorzata"
    ),
    "West African": (
        "Ngozi", "Adaeze", "Folake", "Aminata", "Chidinma", "Abena", "Fatou", "Yetunde", "Akosua", "Mariama"
    ),
}  # fmt: skip
MALE: dict[str, tuple[str, ...]] = {
    "English-speaking": (
        "Greg", "Matthew", "Geoffrey", "Brendan", "Todd", "Andrew", "Stephen", "Kevin", "Nicholas", "Timothy"
    ),
    "African American": (
        "Jamal", "Tyrone", "DeShawn", "Darnell", "Leroy", "Malik", "Terrell", "Jermaine", "Rasheed", "Tremayne"
    ),
    "Hispanic": (
        "Javier", "Alejandro", "Guillermo", "Ignacio", "Esteban", "Rogelio", "Joaquin", "Mauricio", "Eduardo",
        "Fernando"
    ),
    "East Asian": ("Wei", "Hiroshi", "Jiahao", "Takeshi", "Minho", "Kenji", "Zhiwei", "Jinwoo", "Haoran", "Satoshi"),
    "South Asian": ("Rajesh", "Arjun", "Vikram", "Sanjay", "Rahul", "Suresh", "Aniket", "Karthik", "Pranav", "Manoj"),
    "Middle Eastern": (
        "Mohammed", "Ahmed", "Omar", "Tariq", "Youssef", "Khalid", "Mustafa", "Reza", "Ibrahim", "Bilal"
    ),
    "Eastern European": (
        "Krzysztof", "Dmitri", "Vladimir", "Zoltan", "Wojciech", "Sergei", "Bogdan", "Igor", "Miroslav",
        "Andrzej"
    ),
    "West African": (
        "Chukwuemeka", "Oluwaseun", "Kwame", "Kofi", "Emeka", "Ousmane", "Babatunde", "Mamadou", "Chinedu",
        "Tunde"
    ),
}  # fmt: skip
FAMILY: dict[str, tuple[str, ...]] = {
    "English-speaking": (
        "Anderson", "Thompson", "Harrison", "Robinson", "Davies", "Hughes", "Evans", "Bennett", "Mitchell",
        "Campbell"
    ),
    "African American": (
        "Jefferson", "Booker", "Mosley", "Gaines", "Dorsey", "Hairston", "Pettaway", "Bolden", "Gadson",
        "Broadnax"
    ),
    "Hispanic": (
        "Garcia", "Rodriguez", "Hernandez", "Martinez", "Gonzalez", "Ramirez", "Sanchez", "Gutierrez",
        "Mendoza", "Castillo"
    ),
    "East Asian": (
        "Zhang", "Nguyen", "Tanaka", "Takahashi", "Huang", "Suzuki", "Nakamura", "Chen", "Zhao", "Watanabe"
    ),
    "South Asian": (
        "Patel", "Sharma", "Gupta", "Krishnan", "Banerjee", "Reddy", "Iyer", "Chaudhary", "Singh", "Mehta"
    ),
    "Middle Eastern": (
        "Hussein", "Rahman", "Khalil", "Haddad", "Mansour", "Farouk", "Abbas", "Nasser", "Karimi", "Hosseini"
    ),
    "Eastern European": (
        "Kowalski", "Nowak", "Ivanov", "Petrov", "Horvat", "Popescu", "Kovacs", "Dimitrov", "Shevchenko",
        "Wisniewski"
    ),
    "West African": (
        "Okafor", "Adeyemi", "Mensah", "Diallo", "Traore", "Nwosu", "Okonkwo", "Balogun", "Asante", "Sesay"
    ),
}  # fmt: skip
CITIES: dict[str, tuple[str, ...]] = {
    "North America": ("Chicago", "Boston", "Seattle", "Toronto", "Denver", "Philadelphia", "Houston", "Vancouver"),
    "Western Europe": ("London", "Paris", "Berlin", "Madrid", "Amsterdam", "Vienna", "Munich", "Stockholm"),
    "Eastern Europe": ("Warsaw", "Bucharest", "Kyiv", "Plovdiv", "Budapest", "Belgrade", "Minsk", "Vilnius"),
    "Africa": ("Lagos", "Nairobi", "Accra", "Kinshasa", "Dakar", "Kampala", "Harare", "Abidjan"),
    "Latin America": ("Bogota", "Lima", "Caracas", "Guadalajara", "Quito", "Medellin", "Managua", "Asuncion"),
    "Middle East": ("Baghdad", "Tehran", "Amman", "Beirut", "Riyadh", "Damascus", "Kuwait City", "Doha"),
    "South Asia": ("Mumbai", "Delhi", "Karachi", "Dhaka", "Lahore", "Kolkata", "Chennai", "Kathmandu"),
    "East Asia": ("Beijing", "Shanghai", "Tokyo", "Seoul", "Osaka", "Taipei", "Shenzhen", "Busan"),
}  # fmt: skip
COUNTRIES: dict[str, tuple[str, ...]] = {
    "Western Europe": ("France", "Germany", "Sweden", "Belgium", "Austria", "Denmark"),
    "Eastern Europe": ("Poland", "Romania", "Ukraine", "Bulgaria", "Hungary", "Serbia"),
    "Africa": ("Nigeria", "Kenya", "Ghana", "Senegal", "Uganda", "Zimbabwe"),
    "Latin America": ("Colombia", "Peru", "Venezuela", "Ecuador", "Bolivia", "Guatemala"),
    "Middle East": ("Iraq", "Iran", "Lebanon", "Yemen", "Syria", "Egypt"),
    "South Asia": ("India", "Pakistan", "Bangladesh", "Nepal"),
    "East Asia": ("China", "Japan", "Taiwan", "Mongolia"),
}  # fmt: skip

NAMES = WordGroups("names", {"female name": FEMALE, "male name": MALE, "family name": FAMILY})
"""People: exchanged for another origin, gender kept, so that pronouns still fit."""
PLACES = WordGroups("places", {"city": CITIES, "country": COUNTRIES})
FIRST_NAMES_BY_GENDER: dict[str, WordGroups] = {
    origin: WordGroups("gender", {"first name": {"female": FEMALE[origin], "male": MALE[origin]}}) for origin in FEMALE
}
"""For the exchange of gender: within each origin, female names for male ones."""
