#include "catalog/base/secret.h"
#include "test/unit/check.h"

#include <string.h>

static void becomes(const char *given, const char *wanted)
{
	char text[512];
	snprintf(text, sizeof text, "%s", given);
	secrets_hide(text);
	CHECK_STR(text, wanted);
}

TEST(secrets_are_hidden)
{
	static const char *const cases[][2] = {
		{ "curl --password hunter2 x", "curl --password *** x" },
		{ "app --db-password=hunter2 --epochs 3", "app --db-password=*** --epochs 3" },
		{ "sh -c 'AWS_SECRET_ACCESS_KEY=abcdefgh python train.py'", "sh -c 'AWS_SECRET_ACCESS_KEY=*** python train.py'" },
		{ "curl -H 'Authorization: Bearer eyJhbGciOi.x.y' https://x/", "curl -H 'Authorization: Bearer ***' https://x/" },
		{ "curl -H \"X-Api-Key: 12345\" x", "curl -H \"X-Api-Key: ***\" x" },
		{ "git clone https://ana:s3cret@host/r.git", "git clone https://ana:***@host/r.git" },
		{ "git clone https://ghp_0123456789abcdefghij@host/r", "git clone https://***@host/r" },
		{ "psql postgres://u:p@ss@db/x", "psql postgres://u:***@db/x" },
		{ "get 'https://b/k?X-Amz-Credential=AKIA/x&X-Amz-Signature=ff00&v=1'", "get 'https://b/k?X-Amz-Credential=***&X-Amz-Signature=***&v=1'" },
		{ "python -c {\"api_key\": \"abcd\", \"lr\": 1}", "python -c {\"api_key\": \"***\", \"lr\": 1}" },
		{ "train --token 'a b'", "train --token '***'" },
		{ "huggingface-cli login --hf_token=hf_abcd", "huggingface-cli login --hf_token=***" },
		{ "openssl -pass pass:xyz", "openssl -pass ***" },
		{ "x --password=ab", "x --password=**" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		becomes(cases[i][0], cases[i][1]);
}

TEST(an_argument_is_a_secret_to_its_end)
{
	CHECK_INT(secret_kept("--password", "a b"), 0);
	CHECK_INT(secret_kept(NULL, "--password=a b;c"), 11);
	CHECK_INT(secret_kept(NULL, "HF_TOKEN=x python train.py"), 26);
	CHECK_INT(secret_kept("--password", "--verbose"), 9);
	CHECK_INT(secret_kept("password", "x"), 1);
	CHECK_INT(secret_kept("--password=x", "y"), 1);
	CHECK_INT(secret_kept("--max-tokens", "512"), 3);
}

TEST(what_is_no_secret_stays)
{
	static const char *const cases[] = {
		"python train.py --max-tokens 512 --pad-token '<pad>' --tokens=4", "cp /secrets/a b", "app --password", "app --password --verbose", "ssh://git@host/r",
		"http://host/a@b:c", "echo password is", "--secret-santa yes", "", "a b://", "tokenizer --tokenizer x", "awk -F: '{print $1}' token",
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		becomes(cases[i], cases[i]);
}

/* Every cut of a text, as /proc gives a command line that is too long. */
TEST(a_cut_text_is_no_trouble)
{
	static const char whole[] = "--password=\"x y\" 'https://a:b@c' --token -- Authorization: Basic zz password:";
	for (size_t n = 0; n <= strlen(whole); n++) {
		char *text = strndup(whole, n);
		secrets_hide(text);
		CHECK(strlen(text) <= n);
		free(text);
	}
}

CHECK_MAIN()
