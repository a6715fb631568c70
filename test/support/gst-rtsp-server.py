"""A real RTSP camera for tests: GStreamer's server, playing a file or a test picture.

usage: gst-rtsp-server.py [--file clip.mp4] [--path /cam] [--user u --password p]
                          [--auth basic|digest] [--port 0] [--codec h264|mjpeg]

Prints "port N" once it listens and ends with its standard input. A file is played once, in real
time, as one live picture that every client shares: make it long to make it last.
"""

import argparse
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("--file")
parser.add_argument("--path", default="/cam")
parser.add_argument("--user")
parser.add_argument("--password", default="")
parser.add_argument("--auth", choices=["basic", "digest"], default="digest")
parser.add_argument("--port", default="0")
parser.add_argument("--codec", choices=["h264", "mjpeg"], default="h264")
options = parser.parse_args()

Gst.init(None)

if options.file:
    launch = (
        f'( filesrc location="{options.file}" ! qtdemux name=demux '
        # No config-interval: with it, each slice of a keyframe would get parameter sets of its own.
        "demux.video_0 ! queue ! h264parse ! rtph264pay name=pay0 pt=96 )"
    )
elif options.codec == "mjpeg":
    launch = (
        "( videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=10/1 "
        "! jpegenc ! rtpjpegpay name=pay0 pt=26 )"
    )
else:
    launch = (
        "( videotestsrc is-live=true pattern=ball ! "
        "video/x-raw,width=320,height=240,framerate=25/1 ! openh264enc gop-size=25 "
        "! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
    )

server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(options.port)

factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(launch)
factory.set_shared(True)
server.get_mount_points().add_factory(options.path, factory)

if options.user:
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    if options.auth == "digest":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(options.user, options.password, token)
    else:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
        basic = GstRtspServer.RTSPAuth.make_basic(options.user, options.password)
        auth.add_basic(basic, token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("user", "media.factory.access", True)
    permissions.add_permission_for_role("user", "media.factory.construct", True)
    factory.set_permissions(permissions)

loop = GLib.MainLoop()
if server.attach(None) == 0:
    sys.exit("cannot listen")
print("port", server.get_bound_port(), flush=True)


def end_with_input():
    sys.stdin.buffer.read()
    loop.quit()


threading.Thread(target=end_with_input, daemon=True).start()
loop.run()
