"""Fragments of regular expressions that the rules of all packs share."""

import regex

# Capitalised words that label a field or open a sentence; they never belong to a name.
STOP_WORDS = (
    "A|About|Account|Accounts|Actual|Additional|Address|Admission|Admitted|After|Age"
    "|Agent|Agreement|All|Allergies|Also|Amount|An|Analyst|And|Any|Application|Are"
    "|As|Assistant|At|Attn|Attorney|Balance|Bank|Because|Best|Bill|Billing|Birth"
    "|Blood|But|Buyer|By|Can|Card|Case|Category|City|Claim|Class|Classify|Client"
    "|Code|Comments|Company|Compare|Complete|Confirm|Confirmation|Consulting|Contact"
    "|Contract|Convert|Could|Count|Country|Court|Courtroom|Credit|Current|Customer"
    "|DOB|Daily|Data|Date|Dates|Day|Dear|Defendant|Department|Deposit|Describe"
    "|Description|Designer|Details|Diagnosis|Did|Director|Discharge|Do|Doctor|Does"
    "|Dose|Draft|Due|Duration|E-mail|Education|Effective|Email|Employee|Employer"
    "|Employment|Engineer|Executive|Experience|Explain|Extract|Fax|File|First|Follow"
    "|For|Format|Friday|From|Gender|Give|Good|Grade|Group|Had|Has|Have|He|Health"
    "|Hearing|Height|Hello|Hemoglobin|Her|Here|Hi|His|History|Holder|Home|Hospital"
    "|How|I|ID|If|In|Income|Insurance|Insured|Insurer|Invoice|Is|Issue|Issued|It"
    "|Item|Items|Its|Job|Judge|Kind|Label|Landlord|Language|Last|Let|Level|Levels"
    "|License|Line|Links|List|Loan|Location|MRN|Mail|Manager|Marketing|Medical"
    "|Medication|Member|Merchant|Message|Method|Mgmt|Mobile|Monday|Month|Monthly|My"
    "|NIP|Name|Nationality|Next|No|Not|Note|Notes|Notice|Number|Nurse|Occupation|Of"
    "|Officer|On|Once|Or|Order|Our|Owner|PESEL|Page|Paid|Passport|Password|Patient"
    "|Payment|Period|Phone|Physician|Physicians|Plaintiff|Plan|Please|Policy"
    "|Policyholder|Position|Prescription|Price|Procedure|Product|Profile|Program"
    "|Project|Purpose|Quantity|Question|Rate|Re|Reason|Received|Recommendation"
    "|Reference|Regarding|Regards|Registration|Relationship|Reply|Report|Representative"
    "|Request|Required|Residence|Response|Result|Results|Review|Rewrite|Role|Room|SSN"
    "|Salary|Sales|Saturday|Schedule|School|Section|Seller|Sent|Service|Services"
    "|Session|Sex|She|Shipping|Should|Signature|Signed|Since|Sincerely|Sir|Site"
    "|Skills|So|Social|Sort|Source|Specialist|Start|State|Statement|Status|Street"
    "|Subject|Summarise|Summarize|Summary|Sunday|Support|Sure|Surgeon|Symptoms|System"
    "|Task|Tax|Team|Tel|Telephone|Tenant|Term|Terms|Test|Tests|Thank|Thanks|That"
    "|The|Their|Then|There|These|They|This|Those|Thursday|Ticket|Time|Title|To"
    "|Today|Total|Transaction|Transfer|Translate|Treatment|Tuesday|Type|US|USA|Unit"
    "|Update|User|Username|Value|Via|Visit|Was|We|Website|Wednesday|Week|Weight"
    "|Were|What|When|Where|Which|While|Who|Why|With|Withdrawal|Witness|Work|Would"
    "|Write|Year|Yes|You|Your|ZIP|Zip"
)
MONTHS = (
    "(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?"
    "|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)"
)
# Fragments that the packs share. Each is bounded, so that no rule needs more than linear time.
GRAMMARS = {
    "CAP": f"(?!(?:{STOP_WORDS})"
    r"\b)\p{Lu}[\p{L}\p{M}]{0,30}(?:['\u2019\-]\p{L}[\p{L}\p{M}]{1,30}){0,2}(?![\p{L}\p{M}\d])",
    "PARTICLE": r"(?:van|von|de|der|den|del|della|di|da|dos|du|la|le|bin|ibn|al|el|ter|ten|zu|zur)",
    "INITIAL": r"\p{Lu}(?:\.|(?![\p{L}\d'\u2019&.\-]))",
    "MONTH": MONTHS,
    "DAY": r"(?:0?[1-9]|[12]\d|3[01])(?!\d)",
    "SEP": r"[\"'”]{0,2}[ \t]{0,3}(?:[:=#|>]|\b(?:is|was|are|of)\b)?[ \t]{0,3}[#\"'“]{0,2}",
    "NUMBER_WORD": r"(?:number|numer|num|nbr|no\b\.?|nr\b\.?|id\b|ids\b|identifier|code|ref\b|#)",
    "ID": r"(?=[\p{L}_./*\-]{0,14}\d)[\p{L}\d*][\p{L}\d_/*.\-]{1,30}[\p{L}\d](?![\p{L}\d])",
    "DIGITS": r"\d(?:[ .\-]?\d){5,20}(?!\d)",
    "STREET_TYPE": r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct"
    r"|Place|Pl|Square|Sq|Terrace|Ter|Parkway|Pkwy|Highway|Hwy|Way|Circle|Cir|Trail|Trl|Alley"
    r"|Crescent|Close|Grove|Row|Walk|Quay|Mews|Loop|Plaza|Pike|Turnpike|Run|Ridge|View|Heights)",
    "STATE": r"(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]"
    r"|PA|PR|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY])",
}
GRAMMARS["PERSON"] = (
    r"(?:(?&CAP)|(?&INITIAL))(?:[ \t]{1,2}(?:(?&PARTICLE)[ \t]){0,2}(?:(?&CAP)|(?&INITIAL))){0,3}"
)
GRAMMARS["FULL_NAME"] = (
    r"(?:(?&CAP)|(?&INITIAL))(?:[ \t]{1,2}(?:(?&PARTICLE)[ \t]){0,2}(?:(?&CAP)|(?&INITIAL))){1,3}"
)
REFERENCE = regex.compile(r"\(\?&([A-Z_]+)\)")


def expand(text: str) -> str:
    """Replace each `(?&NAME)` by its fragment.

    Raises:
        KeyError: a fragment that is not in GRAMMARS.
    """
    while REFERENCE.search(text):
        text = REFERENCE.sub(lambda found: f"(?:{GRAMMARS[found[1]]})", text)
    return text
