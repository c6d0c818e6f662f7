#include "catalog/personal_name.h"

#include "catalog/base/text.h"
#include "catalog/entity.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#define WORDS_MAX 12u
#define NAME_MAX_BYTES 96u

/* The words of the last part of a dotted path, in lower case and one after the other: "contact.eMail-Address" gives e mail address. */
struct words {
	char text[NAME_MAX_BYTES];
	size_t start[WORDS_MAX], count, len;
};

static void split(const char *name, struct words *ret)
{
	const char *dot = strrchr(name, '.');
	bool in_word = false, lower = false;
	memset(ret, 0, sizeof *ret);
	for (const unsigned char *p = (const unsigned char *)(dot && dot[1] ? dot + 1 : name); *p && ret->len + 1 < sizeof ret->text; p++) {
		if (!isalnum(*p)) {
			in_word = false;
			continue;
		}
		if ((!in_word || (lower && isupper(*p))) && ret->count < WORDS_MAX)
			ret->start[ret->count++] = ret->len;
		in_word = true;
		lower = islower(*p) != 0;
		ret->text[ret->len++] = (char)tolower(*p);
	}
}

/* The words from one on, without what stands between them. */
static const char *tail(const struct words *w, size_t from)
{
	return w->text + w->start[from];
}

static bool is_one_of(const char *text, const char *const *list)
{
	for (; *list; list++)
		if (!strcmp(text, *list))
			return true;
	return false;
}

/* The name says one thing at its end, whatever it begins with: customer_email_address, x_first_name. */
static const char *entity_at_end(const struct words *w)
{
	static const struct {
		const char *word, *entity;
	} known[] = {
		{ "email", "EMAIL_ADDRESS" },	   { "emailaddress", "EMAIL_ADDRESS" }, { "mail", "EMAIL_ADDRESS" },
		{ "mailaddress", "EMAIL_ADDRESS" },  { "emailid", "EMAIL_ADDRESS" },	{ "phone", "PHONE_NUMBER" },
		{ "phonenumber", "PHONE_NUMBER" }, { "phoneno", "PHONE_NUMBER" },	{ "mobile", "PHONE_NUMBER" },
		{ "mobilenumber", "PHONE_NUMBER" }, { "mobilephone", "PHONE_NUMBER" },	{ "cellphone", "PHONE_NUMBER" },
		{ "telephone", "PHONE_NUMBER" },   { "telephonenumber", "PHONE_NUMBER" }, { "telefon", "PHONE_NUMBER" },
		{ "handynummer", "PHONE_NUMBER" }, { "msisdn", "PHONE_NUMBER" },	{ "ssn", "US_SSN" },
		{ "socialsecuritynumber", "US_SSN" }, { "iban", "IBAN_CODE" },		{ "creditcard", "CREDIT_CARD" },
		{ "creditcardnumber", "CREDIT_CARD" }, { "cardnumber", "CREDIT_CARD" }, { "ipaddress", "IP_ADDRESS" },
		{ "ipaddr", "IP_ADDRESS" },	   { "userip", "IP_ADDRESS" },		{ "clientip", "IP_ADDRESS" },
		{ "remoteip", "IP_ADDRESS" },	   { "firstname", "PERSON" },		{ "lastname", "PERSON" },
		{ "middlename", "PERSON" },	   { "maidenname", "PERSON" },		{ "surname", "PERSON" },
		{ "fullname", "PERSON" },	   { "givenname", "PERSON" },		{ "forename", "PERSON" },
		{ "familyname", "PERSON" },	   { "customername", "PERSON" },	{ "patientname", "PERSON" },
		{ "employeename", "PERSON" },	   { "personname", "PERSON" },		{ "contactname", "PERSON" },
		{ "studentname", "PERSON" },	   { "vorname", "PERSON" },		{ "nachname", "PERSON" },
		{ "prenom", "PERSON" },		   { "apellido", "PERSON" },		{ "apellidos", "PERSON" },
		{ "birthdate", "DATE_TIME" },	   { "birthday", "DATE_TIME" },		{ "dateofbirth", "DATE_TIME" },
		{ "birthdt", "DATE_TIME" },	   { "dob", "DATE_TIME" },		{ "geburtsdatum", "DATE_TIME" },
		{ "passport", "US_PASSPORT" },	   { "passportnumber", "US_PASSPORT" }, { "passportno", "US_PASSPORT" },
		{ "driverslicense", "US_DRIVER_LICENSE" }, { "driverlicense", "US_DRIVER_LICENSE" }, { "driverslicensenumber", "US_DRIVER_LICENSE" },
		{ "driverlicensenumber", "US_DRIVER_LICENSE" }, { "homeaddress", "LOCATION" }, { "streetaddress", "LOCATION" },
		{ "postaladdress", "LOCATION" },   { "mailingaddress", "LOCATION" },	{ "billingaddress", "LOCATION" },
		{ "shippingaddress", "LOCATION" }, { "deliveryaddress", "LOCATION" }, { "emailadresse", "EMAIL_ADDRESS" },
		{ "mailadresse", "EMAIL_ADDRESS" }, { "telefonnummer", "PHONE_NUMBER" }, { "telefonnr", "PHONE_NUMBER" },
		{ "mobilnummer", "PHONE_NUMBER" }, { "mobiltelefon", "PHONE_NUMBER" },	{ "handynr", "PHONE_NUMBER" },
		{ "faxnumber", "PHONE_NUMBER" },   { "faxnummer", "PHONE_NUMBER" },	{ "socialsecurity", "US_SSN" },
		{ "socialsecurityno", "US_SSN" },  { "creditcardno", "CREDIT_CARD" },	{ "kreditkarte", "CREDIT_CARD" },
		{ "kreditkartennummer", "CREDIT_CARD" }, { "familienname", "PERSON" },	{ "geburtsname", "PERSON" },
		{ "geburtstag", "DATE_TIME" },	   { "datenaissance", "DATE_TIME" },	{ "datedenaissance", "DATE_TIME" },
		{ "fechanacimiento", "DATE_TIME" }, { "fechadenacimiento", "DATE_TIME" }, { "reisepass", "US_PASSPORT" },
		{ "reisepassnummer", "US_PASSPORT" }, { "wohnadresse", "LOCATION" },	{ "anschrift", "LOCATION" },
	};
	for (size_t from = 0; from < w->count; from++)
		for (size_t i = 0; i < sizeof known / sizeof *known; i++)
			if (!strcmp(tail(w, from), known[i].word))
				return known[i].entity;
	return NULL;
}

const char *personal_name_entity(const char *name)
{
	static const char *const things[] = { "microphone", "headphone", "smartphone", "earphone", "payphone", "megaphone", "saxophone", "xylophone", NULL };
	struct words w;
	split(name, &w);
	const char *found = entity_at_end(&w);
	if (found)
		return found;
	if (text_ends(w.text, "email"))
		return "EMAIL_ADDRESS";
	return text_ends(w.text, "phone") && (!w.count || !is_one_of(tail(&w, w.count - 1), things)) ? "PHONE_NUMBER" : NULL;
}

unsigned personal_name_hints(const char *name)
{
	static const char *const phones[] = { "phone", "phones", "tel", "telephone", "telefon", "mobile", "cell", "fax", "contact", "contacts", "handy",
					      "whatsapp", "sms", "msisdn", "caller", "callee", NULL };
	static const char *const numbers[] = { "ssn", "social", "tin", "itin", "taxid", NULL };
	static const char *const addresses[] = { "ip", "ipv4", "addr", "address", "host", "client", "remote", "peer", "src", "source", "dst", NULL };
	unsigned hints = 0;
	struct words w;
	split(name, &w);
	for (size_t i = 0; i < w.count; i++) {
		char word[NAME_MAX_BYTES];
		const size_t n = (i + 1 < w.count ? w.start[i + 1] : w.len) - w.start[i];
		memcpy(word, w.text + w.start[i], n);
		word[n] = '\0';
		hints |= is_one_of(word, phones) ? ENTITY_PHONE_NUMBER : 0;
		hints |= is_one_of(word, numbers) ? ENTITY_US_SSN : 0;
		hints |= is_one_of(word, addresses) ? ENTITY_IP_ADDRESS : 0;
	}
	return hints;
}
