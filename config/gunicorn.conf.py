"""The pages under gunicorn: gunicorn --config gunicorn.conf.py"""

wsgi_app = 'edeploylib.web.site:application'
bind = '0.0.0.0:8000'
workers = 2
threads = 32
# More than LOCKTIMEOUT.
timeout = 120
control_socket_disable = True
logconfig_dict = {
    'version': 1,
    'disable_existing_loggers': False,
    'formatters': {
        'pairs': {
            'format': 'edeploy: time=%(asctime)s level=%(levelname)s %(message)s',
            'datefmt': '%Y-%m-%dT%H:%M:%S%z',
        }
    },
    'handlers': {'stderr': {'class': 'logging.StreamHandler', 'formatter': 'pairs'}},
    'root': {'level': 'INFO', 'handlers': ['stderr']},
    'loggers': {'gunicorn.error': {'propagate': True, 'handlers': []}},
}
