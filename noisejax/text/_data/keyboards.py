"""Tables of characters: the rows of keyboards, as they are printed on the keys."""

# Rows from the top, without and with shift. A row starts this many key widths to the right of the first.
OFFSETS = (0.0, 0.5, 0.75, 1.25)

LAYOUTS = {
    "qwerty": (
        ("1234567890-=", "!@#$%^&*()_+"),
        ("qwertyuiop[]", "QWERTYUIOP{}"),
        ("asdfghjkl;'", 'ASDFGHJKL:"'),
        ("zxcvbnm,./", "ZXCVBNM<>?"),
    ),
    "qwertz": (
        ("1234567890ß´", '!"§$%&/()=?`'),
        ("qwertzuiopü+", "QWERTZUIOPÜ*"),
        ("asdfghjklöä#", "ASDFGHJKLÖÄ'"),
        ("yxcvbnm,.-", "YXCVBNM;:_"),
    ),
    "azerty": (
        ("&é\"'(-è_çà)=", "1234567890°+"),
        ("azertyuiop^$", "AZERTYUIOP¨£"),
        ("qsdfghjklmù*", "QSDFGHJKLM%µ"),
        ("wxcvbn,;:!", "WXCVBN?./§"),
    ),
    "dvorak": (
        ("1234567890[]", "!@#$%^&*(){}"),
        ("',.pyfgcrl/=", '"<>PYFGCRL?+'),
        ("aoeuidhtns-", "AOEUIDHTNS_"),
        (";qjkxbmwvz", ":QJKXBMWVZ"),
    ),
    "jcuken": (
        ("1234567890-=", '!"№;%:?*()_+'),
        ("йцукенгшщзхъ", "ЙЦУКЕНГШЩЗХЪ"),
        ("фывапролджэ", "ФЫВАПРОЛДЖЭ"),
        ("ячсмитьбю.", "ЯЧСМИТЬБЮ,"),
    ),
}  # fmt: skip
