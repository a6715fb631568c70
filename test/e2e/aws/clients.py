"""
Asks boto3 or awscli for what each line of stdin says, {"service", "operation", "input"}, and prints a
line with what came: {"answer": ...} or {"error": "...Exception"}. awscli runs as its program does, but
many times in one process. What is called Data is a text, in base64.

Usage: clients.py boto3|awscli ENDPOINT
"""
import base64
import contextlib
import io
import json
import re
import sys
import tempfile

CLIENT, ENDPOINT = sys.argv[1:]
STREAMING = {'GetMedia', 'GetMediaForFragmentList', 'GetClip'}
# Live media have no end: this much of them is read.
LIVE_FRAGMENTS = 2


def name_of(operation, between):
    words = re.split('(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])', operation)
    return between.join(words).lower()


def ask_boto3(clients, service, operation, given):
    import boto3
    from botocore.exceptions import ClientError

    if service not in clients:
        clients[service] = boto3.client(service, endpoint_url=ENDPOINT)
    try:
        answer = getattr(clients[service], name_of(operation, '_'))(**with_data(given, base64.b64decode))
    except ClientError as error:
        return {'error': error.response['Error']['Code']}
    if operation in STREAMING:
        answer['Payload'] = base64.b64encode(read(answer['Payload'], operation)).decode()
    return {'answer': answer}


def with_data(value, decode):
    if isinstance(value, list):
        return [with_data(entry, decode) for entry in value]
    if not isinstance(value, dict):
        return value
    return {
        member: decode(entry) if member == 'Data' else with_data(entry, decode)
        for member, entry in value.items()
    }


def read(payload, operation):
    if operation != 'GetMedia':
        return payload.read()
    media = b''
    while media.count(b'AWS_KINESISVIDEO_CONTINUATION_TOKEN') < LIVE_FRAGMENTS:
        media += payload.read(1024)
    payload.close()
    return media


def as_argument(value):
    return value if isinstance(value, str) else json.dumps(value)


def ask_awscli(driver, service, operation, given):
    if awscli.__version__.startswith('1.'):
        # It takes bytes as they are, and no others than text; its successor takes base64.
        given = with_data(given, lambda data: base64.b64decode(data).decode())
    arguments = []
    for member, value in given.items():
        arguments += ['--' + name_of(member, '-'), as_argument(value)]
    arguments += ['--endpoint-url', ENDPOINT, '--output', 'json', '--no-paginate']
    out, complaints = io.StringIO(), io.StringIO()
    with tempfile.NamedTemporaryFile() as file:
        saved_in = [file.name] if operation in STREAMING else []
        arguments = [service, name_of(operation, '-'), *saved_in, *arguments]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(complaints):
            try:
                code = driver.main(arguments)
            except SystemExit as exit:
                code = exit.code
        if code != 0:
            found = re.search(r'An error occurred \((\w+)\)', complaints.getvalue())
            return {'error': found.group(1) if found else complaints.getvalue()}
        answer = json.loads(out.getvalue() or '{}')
        if operation in STREAMING:
            answer['Payload'] = base64.b64encode(file.read()).decode()
        return {'answer': answer}


if CLIENT == 'awscli':
    import awscli
    from awscli.clidriver import create_clidriver

    ask, kept = ask_awscli, create_clidriver()
else:
    ask, kept = ask_boto3, {}
for line in sys.stdin:
    asked = json.loads(line)
    told = ask(kept, asked['service'], asked['operation'], asked['input'])
    print(json.dumps(told, default=lambda value: value.isoformat()), flush=True)
