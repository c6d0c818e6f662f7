/* What is taken for personal data in columns, and what only looks like it. */
#include "test/unit/check.h"

#include "catalog/personal.h"
#include "catalog/personal_name.h"

#include <string.h>

struct seen {
	char entities[200];
};

static int on_finding(void *arg, const struct personal_finding *f)
{
	struct seen *s = arg;
	strcat(strcat(s->entities, s->entities[0] ? " " : ""), f->entity);
	return 0;
}

static uint32_t state;

static unsigned roll(unsigned bound)
{
	state = state * 1664525u + 1013904223u;
	return (state >> 8) % bound;
}

/* A pattern: # is a digit, ^ one of 2 to 9, * counts up; the rest stands for itself. */
static size_t one_value(const char *pattern, unsigned i, char *out)
{
	size_t n = 0;
	for (const char *p = pattern; *p; p++) {
		if (*p == '#' || *p == '^')
			out[n++] = (char)('0' + (*p == '#' ? roll(10) : 2 + roll(8)));
		else if (*p == '*')
			n += (size_t)sprintf(out + n, "%06u", i);
		else
			out[n++] = *p;
	}
	return n;
}

/* 300 values of a pattern, every `step`th of them, the others plain words. */
static void column(const char *name, const char *pattern, unsigned step, const char *entities)
{
	struct personal *p = personal_new();
	struct personal_file *f = NULL;
	struct seen seen = { "" };
	char value[200];
	state = 7;
	CHECK_INT(personal_file_begin(p, "a.csv", NULL, &f), 0);
	CHECK_INT(personal_column(f, 0, name, strlen(name)), 0);
	for (unsigned i = 0; i < 300; i++) {
		size_t n = one_value(i % step ? "nothing to see" : pattern, i, value);
		personal_value(f, 0, i + 1, value, n);
	}
	CHECK_INT(personal_file_end(f), 0);
	CHECK_INT(personal_each(p, on_finding, &seen), 0);
	if (strcmp(seen.entities, entities) != 0)
		CHECK_FAIL("%s: %s: found \"%s\", expected \"%s\"", name, pattern, seen.entities, entities);
	personal_free(p);
}

TEST(ordinary_columns)
{
	static const char *const patterns[] = {
		"1000*", "4500*", "17000*", "17000*000", /* order numbers, seconds and milliseconds since 1970 */
		"#########", "##########", "###########", "############", "0000*", "################",
		"-12.######", "123.######", "52.######, 13.######", /* coordinates */
		"2026-11-22", "2026-11-22T08:00:00Z", "22/11/2026 08:00:00 +0100", "22.11.2026 08:00", "2026-11-22 08:00:00.######",
		"1.2.3#", "1#.2.3.4", "v1.2.3", /* versions */
		"SKU-###-####", "###-####", "978-3-16-######-#", "40########123", "INV/2026/####", "AB-12-####-####",
		"https://example.org/p/##########", "0x##########", "##:##:##", "12 x 34 x 56 x 78", "DE####################",
	};
	for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
		column("reference", patterns[i], 1, "");
	column("note", "order ########## of 22/11/2026, box 12-34-56, sizes 10 20 30 40 50", 1, "");
}

TEST(personal_columns)
{
	column("c", "a#@example.org", 1, "EMAIL_ADDRESS");
	column("c", "write to a#@example.org", 299, "EMAIL_ADDRESS"); /* once or twice is enough */
	column("c", "+49 30 #######", 1, "PHONE_NUMBER");
	column("c", "(^##) ^##-####", 1, "PHONE_NUMBER");
	column("c", "^##-^##-####", 1, "PHONE_NUMBER");
	column("c", "^##^######", 1, "PHONE_NUMBER"); /* all of them could be */
	column("c", "01512#######", 1, "PHONE_NUMBER");
	column("fax", "1000*", 1, "PHONE_NUMBER"); /* the name says what the digits are */
	column("c", "call ^##-^##-#### today", 20, "PHONE_NUMBER");
	column("c", "123-45-####", 1, "US_SSN");
	column("tax_ssn", "12345####", 1, "US_SSN");
	column("c", "4111 1111 1111 1111", 1, "CREDIT_CARD");
	column("c", "DE89370400440532013000", 1, "IBAN_CODE");
	column("c", "17#.2#.1##.4", 1, "IP_ADDRESS");
	column("client_ip", "1.2.3.4#", 1, "IP_ADDRESS");
	column("c", "fe80::1ff:fe23:4567:890#", 1, "IP_ADDRESS");
}

TEST(names_of_columns)
{
	static const char *const personal[] = { "email", "E-Mail", "customer_email", "contact.emailAddress", "userEmail", "x_first_name", "FirstName", "lastname",
						"date_of_birth", "DOB", "patientName", "passport_no", "home_address", "mobile", "phone", "workphone", "client_ip",
						"E-Mail-Adresse", "telefonnummer", "kunde.Familienname", "social_security", "date_de_naissance", "faxNumber", "Anschrift" };
	static const char *const ordinary[] = { "email_count", "phone_model", "mobile_app", "name", "product_name", "file_name", "birth_rate", "address_id",
						"ip_version", "street_count", "microphone", "smartphone", "headphone", "ssn_present", "surname_flag", "mailing", "" };
	for (size_t i = 0; i < sizeof personal / sizeof *personal; i++)
		if (!personal_name_entity(personal[i]))
			CHECK_FAIL("%s says nothing", personal[i]);
	for (size_t i = 0; i < sizeof ordinary / sizeof *ordinary; i++)
		if (personal_name_entity(ordinary[i]))
			CHECK_FAIL("%s says %s", ordinary[i], personal_name_entity(ordinary[i]));
}

CHECK_MAIN()
